"""What a solver costs beside the evaluations it makes.

    python -m benchmarks.timing.solvers [--channels 64] [--side 16] [--images 64] [--repeats 5]

One residual GroupNorm cell with random weights, its injection scaled until the spectral radius at
the equilibria is 0.87; every solver finds the same equilibria, cold, to the same relative residual.
Evaluations are per image. The share outside the cell is CPU time of one thread that is not spent
in the cell; the time is that of the quickest solver's multiple.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchdeq.solver import get_solver

from benchmarks.timing.clock import Spread, machine, ratios, take_turns
from benchmarks.timing.residual import ResidualCell
from benchmarks.timing.slow_cell import spectral_radius
from robustdeq.equilibrium import CellProblem, residual
from robustdeq.noise import NoiseStream
from robustdeq.results.formats.markdown import table
from robustdeq.results.text import per_cent
from robustdeq.solvers.anderson import Anderson
from robustdeq.solvers.base import Solver, solve
from robustdeq.solvers.picard import Picard

RADIUS, TOL, MAX_STEPS = 0.87, 1e-3, 60
LIBRARY = ("fixed_point_iter", "anderson", "broyden")
HEADER = ("solver", "evaluations", "converged", "outside the cell", "time, of the quickest")


class Account:
    """A problem's cell, with the time spent in it and the rows it was evaluated for."""

    def __init__(self, problem: CellProblem):
        self._cell = problem.cell
        self.problem = CellProblem(self._timed, problem.context, problem.z0)
        self.seconds, self.rows = 0.0, 0

    def _timed(self, z: Tensor, *context: Tensor) -> Tensor:
        started = time.process_time()
        value = self._cell(z, *context)
        self.seconds += time.process_time() - started
        self.rows += len(z)
        return value


Solve = Callable[[CellProblem], Tensor]


def contestants() -> dict[str, Solve]:
    """Our solvers and torchdeq's, each with the same tolerance and step limit."""
    ours: dict[str, Solver] = {
        "Picard": Picard(TOL, MAX_STEPS),
        "Anderson": Anderson(TOL, MAX_STEPS),
        "Anderson, every 2nd step": Anderson(TOL, MAX_STEPS, every=2),
        "Anderson, every 3rd step": Anderson(TOL, MAX_STEPS, every=3),
    }
    return {name: _own(solver) for name, solver in ours.items()} | {
        f"torchdeq {name}": _library(name) for name in LIBRARY
    }


def scaled_problem(channels: int, side: int, images: int) -> CellProblem:
    """A batch of problems on one random cell whose median spectral radius is `RADIUS`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cell = ResidualCell(channels).requires_grad_(False)
    state = (channels, side, side)
    u = NoiseStream(0).normal(torch.arange(images), 0, state)

    def problem(scale: float, rows: int) -> CellProblem:
        def flat(z: Tensor, u: Tensor) -> Tensor:
            return cell(z.unflatten(1, state), u).flatten(1)

        return CellProblem(flat, (scale * u[:rows],), torch.zeros_like(u[:rows]).flatten(1))

    low, high = 0.1, 100.0  # the stronger the injection, the less the cell depends on z
    for _ in range(12):
        middle = (low * high) ** 0.5
        too_slow = float(spectral_radius(problem(middle, 4), products=40).median()) > RADIUS
        low, high = (middle, high) if too_slow else (low, middle)
    return problem(high, images)


def measure(problem: CellProblem, repeats: int) -> list[list[str]]:
    """The rows of the table."""

    def run(find: Solve) -> tuple[Account, Tensor]:
        account = Account(problem)
        return account, find(account.problem)

    runs = {name: (lambda turn, find=find: run(find)) for name, find in contestants().items()}
    results = take_turns(runs, repeats, threads=1)
    times = {name: [lap.cpu for _, lap in each] for name, each in results.items()}
    quickest = min(times, key=lambda name: Spread.of(times[name]))
    rows = []
    for name, each in results.items():
        outside = Spread.of([1 - account.seconds / lap.cpu for (account, _), lap in each])
        share = f"{outside.median:.1%} ({outside.low:.1%} to {outside.high:.1%})"
        account, z = each[0][0]
        met = residual(z, problem(z)) <= 2 * TOL  # a library returns f of the state that it tested
        evaluations = f"{account.rows / len(z):.1f}"
        slower = str(ratios(times[name], times[quickest]))
        rows.append([name, evaluations, per_cent(float(met.double().mean())), share, slower])
    return rows


def _own(solver: Solver) -> Solve:
    return lambda problem: solve(problem, solver).z


def _library(name: str) -> Solve:
    def find(problem: CellProblem) -> Tensor:
        options = {"max_iter": MAX_STEPS, "tol": TOL, "stop_mode": "rel"}
        with torch.no_grad():
            return get_solver(name)(problem, problem.z0, **options)[0]

    return find


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--channels", type=int, default=64, help="of the state")
    parser.add_argument("--side", type=int, default=16, help="of the state")
    parser.add_argument("--images", type=int, default=64, help="in the batch")
    parser.add_argument("--repeats", type=int, default=5, help="of every solve")
    options = parser.parse_args()
    problem = scaled_problem(options.channels, options.side, options.images)
    print(table(HEADER, measure(problem, options.repeats), left=HEADER[:1]), end="\n\n")
    what = f"{options.channels} channels of {options.side}x{options.side}, batch {options.images}"
    print(f"{what}, spectral radius {RADIUS}, tolerance {TOL:g}; {machine()}")


if __name__ == "__main__":
    main()
