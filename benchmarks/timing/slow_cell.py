"""The slow cell: a deep equilibrium network whose solves are long, as the field's usually are.

    python -m benchmarks.timing.slow_cell [--channels 32] [--data mnist --root PATH --train 600]

trains it, or goes on, writes its weights and says how slow it is. The stock cell of this package is
chosen to converge quickly, which flatters every engine; the tables are read off this one.
"""

import argparse
from fractions import Fraction
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.timing.options import add_data, load_data
from benchmarks.timing.residual import Residual
from robustdeq.attacks.pgd import PGD
from robustdeq.data.base import DataSet
from robustdeq.defenses.adversarial_training import AdversarialTraining
from robustdeq.defenses.base import Task
from robustdeq.entrant import Entrant, Recipe
from robustdeq.equilibrium import CellProblem
from robustdeq.models.deq import DEQClassifier
from robustdeq.noise import NoiseStream
from robustdeq.solvers.anderson import Anderson
from robustdeq.solvers.base import solve
from robustdeq.solvers.picard import Picard
from robustdeq.threats.linf import Linf
from robustdeq.training.central import build, train
from robustdeq.training.checkpoint import load_checkpoint, save_checkpoint

WEIGHTS = Path(__file__).parent / "weights"
UNFINISHED = Path(__file__).parents[2] / "runs" / "slow-cell"
HELD_OUT = 200  # images that a shortened training is stopped on
THREAT = Linf(Fraction(1, 10))


def entrant(channels: int) -> Entrant:
    """PGD-4 adversarial training in 14 epochs."""
    attack = PGD(steps=4, step=Fraction(2, 5))
    recipe = Recipe(THREAT, epochs=14, batch_size=32, warmup=0.05)
    return Entrant(AdversarialTraining(Residual(channels), attack), recipe)


def load(channels: int, task: Task, data: str, digest: str | None = None) -> DEQClassifier:
    """The network trained on some data, frozen.

    Raises:
        CheckpointError: the weights are missing, another network's or not the recorded ones.
    """
    model = build(entrant(channels), task)
    assert isinstance(model, DEQClassifier)
    load_checkpoint(weights_file(channels, data), model, digest)
    return model.eval().requires_grad_(False)


def weights_file(channels: int, data: str) -> Path:
    """Where the weights of one width, trained on some data, lie."""
    return WEIGHTS / f"slow-{channels}-{data}.safetensors"


def spectral_radius(problem: CellProblem, products: int = 100) -> Float[Tensor, " batch"]:
    """|lambda_max| of df/dz at each row's equilibrium, by power iteration on J^T.

    The geometric mean growth over the second half of the products, because a complex pair of
    eigenvalues makes single ratios swing.
    """
    leaf = solve(problem, Picard(tol=1e-5, max_steps=500)).z.requires_grad_()
    fz = problem(leaf)
    v = NoiseStream(0).normal(torch.arange(len(leaf)), 0, tuple(leaf.shape[1:])).to(leaf)
    growth = torch.zeros(len(leaf), device=leaf.device)
    for number in range(products):
        v = v / torch.linalg.vector_norm(v, dim=1, keepdim=True)
        (v,) = torch.autograd.grad(fz, leaf, v, retain_graph=True)
        if 2 * number >= products:
            growth += torch.linalg.vector_norm(v, dim=1).log()
    return (growth / (products - products // 2)).exp()


def facts(model: DEQClassifier, x: Tensor, y: Tensor) -> str:
    """How slow the network is, on clean images and at random points of the threat set."""
    rows = torch.arange(len(x))
    near = THREAT.random_start(x, rows, NoiseStream(0))
    radius = spectral_radius(model.problem(x))
    clean = (model.predict(x).labels == y).double().mean()
    lines = [
        f"clean accuracy {clean:.1%} of {len(x)}",
        f"spectral radius: median {radius.median():.3f}, largest {radius.max():.3f}",
    ]
    for solver in (Picard(max_steps=200), Anderson(max_steps=200, every=2)):
        answer = model.replaced(solver=solver).solve(near)
        spread = answer.nfe.double().quantile(torch.tensor([0.05, 0.5, 0.9, 0.99, 1.0]).double())
        lines.append(
            f"{solver.plugin_name()}: {answer.converged.double().mean():.1%} converged to 1e-3; "
            f"evaluations at 5/50/90/99/100 %: {'/'.join(f'{q:.0f}' for q in spread.tolist())}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--channels", type=int, default=32, help="width of the state")
    parser.add_argument("--train", type=int, help="train on the first so many images only")
    add_data(parser)
    options = parser.parse_args()
    data = load_data(options.data, options.root)
    if options.train:
        shown = data.train.take(options.train), data.held_out.take(HELD_OUT)
        data = DataSet(*shown, data.test, data.classes)
    file = weights_file(options.channels, options.data)
    unfinished = UNFINISHED / file.name
    model, log = train(entrant(options.channels), data, torch.device("cpu"), unfinished)
    assert isinstance(model, DEQClassifier)
    print(f"{file.name}: SHA-256 {save_checkpoint(file, model)}\nlast look: {log[-1]}")
    unfinished.unlink(missing_ok=True)
    test = data.test.take(min(500, len(data.test)))
    print(facts(model, test.images, test.labels))


if __name__ == "__main__":
    main()
