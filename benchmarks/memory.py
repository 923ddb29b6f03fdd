"""Peak memory of one attack step against the solver's step limit.

    python -m benchmarks.memory

The implicit gradient stores one evaluation of the cell, however many steps the solver takes; full
backpropagation through the solver stores them all. Each figure is the peak resident memory of a
fresh process above what it held before the step, for 64 images of 1x28x28 on a 32-channel cell of
a fixed depth: every row of the state and of the adjoint runs to the step limit and has converged.
"""

import argparse
import resource
import subprocess
import sys

import torch

from robustdeq.adjoints.implicit import Implicit
from robustdeq.models.cells import TanhCell, normalised_injection, pooled_head
from robustdeq.models.deq import DEQClassifier
from robustdeq.objectives.cross_entropy import CrossEntropy
from robustdeq.samples import Samples
from robustdeq.solvers.fixed_depth import FixedDepth
from robustdeq.surfaces.equilibrium import EquilibriumSurface
from robustdeq.surfaces.network import through_solver_surface

IMAGES, CHANNELS, SIDE = 64, 32, 28
STEPS = (20, 200)


def measure(view: str, steps: int) -> int:
    """Kilobytes that one value and gradient add to this process's peak."""
    torch.manual_seed(0)
    solver = FixedDepth(max_steps=steps)
    model = DEQClassifier(
        normalised_injection(1, CHANNELS),
        TanhCell(CHANNELS),
        pooled_head(CHANNELS, SIDE, SIDE, 10),
        (CHANNELS, SIDE, SIDE),
        solver,
        Implicit(),
    ).requires_grad_(False)
    if view == "implicit":
        surface = EquilibriumSurface(model, adjoint_solver=solver)
    else:
        surface = through_solver_surface(model)
    x, y = torch.rand(IMAGES, 1, SIDE, SIDE), torch.zeros(IMAGES, dtype=torch.int64)
    model.predict(x)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    surface.value_and_grad(Samples.of(x, y), CrossEntropy())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--one", nargs=2, metavar=("VIEW", "STEPS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(measure(options.one[0], int(options.one[1])))
        return
    print(f"| gradient | {' | '.join(f'{steps} steps' for steps in STEPS)} | ratio |")
    print("| --- | ---: | ---: | ---: |")
    for view in ("implicit", "through-solver"):
        peaks = []
        for steps in STEPS:
            command = [sys.executable, "-m", "benchmarks.memory", "--one", view, str(steps)]
            peaks.append(int(subprocess.check_output(command)) / 1024)
        cells = " | ".join(f"{peak:.0f} MiB" for peak in peaks)
        print(f"| {view} | {cells} | {peaks[-1] / peaks[0]:.1f} |")


if __name__ == "__main__":
    main()
