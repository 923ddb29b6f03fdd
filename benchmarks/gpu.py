"""The whole job of a GPU in one command, step by step, each kept once it is done.

    python -m benchmarks.gpu --cifar PATH [--device cuda] [--out runs/gpu]

1. The tests that need a GPU.
2. The timing tables of `benchmarks.timing` on it.
3. A first look past digits: a deep equilibrium network adversarially trained on CIFAR-10-JPEG for
   `--minutes`.
4. That network attacked by the native cascade on the first `--images` test images, judged by the
   deployed predictor, with images per second and the share of the convolution's rate.

An interrupted job goes on with the same command. PATH holds the parquet files of CIFAR-10-JPEG;
without it steps 3 and 4 run on the embedded digits, which is a rehearsal, on a CPU too.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import torch

from benchmarks.timing.clock import headline, machine, timed
from benchmarks.timing.contests import autoattack_strength
from benchmarks.timing.limits import cell_flops, raw_rates
from benchmarks.timing.opponents import Settings
from benchmarks.timing.options import DIGITS, add_device, load_data
from benchmarks.timing.subjects import Subject
from robustdeq.attacks.pgd import PGD
from robustdeq.data.base import DataSet
from robustdeq.defenses.adversarial_training import AdversarialTraining
from robustdeq.defenses.base import DefendedModel, Task
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.entrant import Entrant, Recipe
from robustdeq.models.deq import DEQClassifier
from robustdeq.precision import full_precision
from robustdeq.results.store.files import write
from robustdeq.threats.linf import Linf
from robustdeq.training.central import build, train
from robustdeq.training.checkpoint import load_checkpoint, save_checkpoint

ROOT = Path(__file__).parents[1]
TABLES = ("attacks --images 500 --repeats 2", "training --cell slow", "limits")
CASCADE = "APGD-CE, APGD-T, FAB-T, Square, fast"


@dataclass(frozen=True)
class Job:
    """What is asked for, and where its results are kept."""

    device: torch.device
    cifar: str | None
    out: Path
    minutes: float
    images: int
    epochs: int

    def entrant(self) -> Entrant:
        """The stock network, wider, against 8/255 (the digits' own radius in a rehearsal)."""
        channels, eps = (64, Fraction(8, 255)) if self.cifar else (8, Fraction(3, 16))
        attack = PGD(steps=7, step=Fraction(1, 4))
        recipe = Recipe(Linf(eps), batch_size=256)
        return Entrant(AdversarialTraining(Vanilla(channels=channels), attack), recipe)

    def data(self) -> DataSet:
        """The images, on the device."""
        name, root = ("cifar10-jpeg", self.cifar) if self.cifar else (DIGITS, None)
        return load_data(name, root).to(self.device)


def tests(job: Job) -> str:
    """The tests with the mark `gpu`."""
    return _run("pytest", "-q", "-m", "gpu", "tests")


def tables(job: Job) -> str:
    """The timing tables, each under its command."""
    return "\n\n".join(
        f"`python -m benchmarks.timing.{command} --device {job.device.type}`\n\n"
        + _run(f"benchmarks.timing.{command.split()[0]}", *command.split()[1:],
               "--device", job.device.type)
        for command in TABLES
    )  # fmt: skip


def training(job: Job) -> str:
    """As many epochs as the first one says fit into the minutes; goes on where it was killed."""
    entrant, data, out = job.entrant(), job.data(), job.out / "training"
    plan = out / "epochs.json"
    if not plan.exists():
        one = replace(entrant, recipe=replace(entrant.recipe, epochs=1))
        _, lap = timed(lambda: train(one, data, job.device))
        fitting = max(1, min(job.epochs, int(60 * job.minutes / lap.wall)))
        write(plan, json.dumps({"epochs": fitting, "seconds of the first": lap.wall}).encode())
    epochs = json.loads(plan.read_text(encoding="utf-8"))["epochs"]
    recipe = replace(entrant.recipe, epochs=epochs, validate_every=max(1, epochs // 5))
    whole = replace(entrant, recipe=recipe)
    model, log = train(whole, data, job.device, out / "state.safetensors")
    save_checkpoint(out / "weights.safetensors", model)
    return f"{epochs} epochs; the last look at held-out images: {log[-1]}"


@full_precision()
def cascade(job: Job) -> str:
    """The native cascade at the standard budget on the first images."""
    entrant, data = job.entrant(), job.data()
    model = build(entrant, Task(data.shape, data.classes)).to(job.device)
    load_checkpoint(job.out / "training" / "weights.safetensors", model)
    model.eval().requires_grad_(False)
    assert isinstance(model, DEQClassifier)
    threat = entrant.recipe.threat
    assert threat is not None
    case = Subject("trained", DefendedModel(entrant.defense, model, {}), data, threat, Settings())
    split = data.test.take(min(job.images, len(data.test)))
    found, lap = timed(lambda: autoattack_strength(case, split).ours[CASCADE](0))
    right = [model.predict(x).labels == split.labels for x in (split.images, *found.candidates)]
    clean, robust = (float(r.double().mean()) for r in (right[0], torch.stack(right).all(0)))
    seconds = headline(lap, job.device)
    reached = found.evaluations * len(split) * cell_flops(case) / seconds / 1e9
    limit = raw_rates(case, 3)["convolution"].median
    return (
        f"{CASCADE}: {clean:.1%} clean, {robust:.1%} robust of {len(split)} images at radius "
        f"{threat.eps}; {len(split) / seconds:.2f} images/s, {found.evaluations:.0f} evaluations "
        f"each, {reached:.0f} GFLOP/s, {reached / limit:.1%} of the bare convolution"
    )


STEPS: tuple[Callable[[Job], str], ...] = (tests, tables, training, cascade)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_device(parser)
    parser.add_argument("--cifar", metavar="PATH", help="the folder of CIFAR-10-JPEG")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu")
    parser.add_argument("--minutes", type=float, default=9.0, help="of training, at most")
    parser.add_argument("--epochs", type=int, default=60, help="of training, at most")
    parser.add_argument("--images", type=int, default=1000, help="attacked by the cascade")
    parser.add_argument("--only", nargs="+", choices=[step.__name__ for step in STEPS])
    options = parser.parse_args()
    job = Job(options.device, options.cifar, options.out, options.minutes, options.images,
              options.epochs)  # fmt: skip
    job.out.mkdir(parents=True, exist_ok=True)
    for step in STEPS:
        kept = job.out / f"{step.__name__}.txt"
        if options.only and step.__name__ not in options.only:
            continue
        if not kept.exists():
            kept.write_text(f"{step(job)}\n\n{machine()}\n", encoding="utf-8")
        print(f"## {step.__name__}\n\n{kept.read_text(encoding='utf-8')}")


def _run(module: str, *arguments: str) -> str:
    """What a module prints, whether or not it succeeds: a failed test is a result, too."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, text=True, capture_output=True
    )
    return done.stdout.strip() + (f"\n{done.stderr.strip()}" if done.returncode else "")


if __name__ == "__main__":
    main()
