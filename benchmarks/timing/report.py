"""Every timing table in one file, each under the command that printed it.

    python -m benchmarks.timing.report [--mnist PATH] [--only TITLE ...] [--again]

A section that has run before is taken from `runs/performance/`; so an interrupted report goes on
with the same command, and `--again` measures anew. Sections on MNIST need the folder of its files
and, once, `python -m benchmarks.timing.slow_cell --data mnist --root PATH --train 600`.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "runs" / "performance"
OUT = ROOT / "results" / "reports" / "performance.md"
MNIST = "MNIST_ROOT"  # stands for the folder in a command
PREAMBLE = """# Performance

Ratios are the opponent's work over ours on the same weights and images in one run: median (lowest
to highest). Absolute times of one machine mean little elsewhere. Each table stands under the
command that prints it, with the machine, the date and its load. CPU ratios are of one thread, wall
ratios of all cores. No GPU was at hand: `python -m benchmarks.gpu` measures the same tables there,
and has been tried on a CPU at toy size. docs/speed.md holds each ratio against its goal; the
section Profile says where the time goes that falls short of it.
"""


@dataclass(frozen=True)
class Section:
    """A heading and the command below it, as arguments of `python -m`."""

    title: str
    command: str

    @property
    def kept(self) -> Path:
        """Where its output lies once it has run."""
        return KEPT / f"{self.title.lower().replace(' ', '-').replace(',', '')}.txt"

    def measure(self, mnist: str | None) -> None:
        """Run the command and keep what it prints.

        Raises:
            CalledProcessError: it failed; what it said is on the terminal.
        """
        arguments = [mnist if part == MNIST and mnist else part for part in self.command.split()]
        done = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True,
            check=True,
        )  # fmt: skip
        self.kept.parent.mkdir(parents=True, exist_ok=True)
        self.kept.write_text(done.stdout, encoding="utf-8")


SECTIONS = (
    Section("PGD on digits", "benchmarks.timing.attacks --images 128 --repeats 2 --wall"),
    Section("PGD on digits, strength", "benchmarks.timing.attacks --images 500 --repeats 2"),
    Section(
        "PGD on digits, 128 channels",
        "benchmarks.timing.attacks --cell wide --images 128 --repeats 2",
    ),
    Section(
        "AutoAttack on digits",
        "benchmarks.timing.attacks --rows autoattack --cell slow --images 32 --repeats 1",
    ),
    Section(
        "AutoAttack on digits, strength",
        "benchmarks.timing.attacks --rows autoattack-strength --cell slow --images 200 "
        "--repeats 1 --margin 0.02",
    ),
    Section(
        "PGD on MNIST",
        f"benchmarks.timing.attacks --data mnist --root {MNIST} --images 64 --repeats 2",
    ),
    Section("Training throughput, stock", "benchmarks.timing.training --cell stock"),
    Section("Training throughput, slow", "benchmarks.timing.training --cell slow"),
    Section(
        "Training throughput, MNIST",
        f"benchmarks.timing.training --cell slow --data mnist --root {MNIST} --steps 200",
    ),
    Section("Training to target", "benchmarks.timing.training --epochs 12 --seeds 3"),
    Section("Solvers", "benchmarks.timing.solvers"),
    Section("Limits", "benchmarks.timing.limits"),
    Section("Profile", "benchmarks.timing.profile"),
    Section("Scaling", "benchmarks.timing.scaling"),
    Section(
        "Chunks",
        "benchmarks.timing.scaling --images 500 --chunk 64 128 256 512 --mode exact --repeats 3",
    ),
    Section("Memory", "benchmarks.memory"),
)


def render(sections: tuple[Section, ...]) -> str:
    """The report of the sections that have been measured; the others say so."""
    parts = [PREAMBLE]
    for section in sections:
        found = (
            section.kept.read_text(encoding="utf-8").strip()
            if section.kept.exists()
            else "Not measured."
        )
        parts.append(f"## {section.title}\n\n`python -m {section.command}`\n\n{found}\n")
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mnist", metavar="PATH", help="the folder of MNIST's files")
    parser.add_argument("--only", nargs="+", default=[], help="sections whose titles begin so")
    parser.add_argument("--again", action="store_true", help="measure what has been measured")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    wanted = [
        section
        for section in SECTIONS
        if section.title.startswith(tuple(options.only) or "")
        and (options.mnist or MNIST not in section.command)
        and (options.again or not section.kept.exists())
    ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(render(SECTIONS), encoding="utf-8")
    for section in tqdm(wanted):
        section.measure(options.mnist)
        options.out.write_text(render(SECTIONS), encoding="utf-8")


if __name__ == "__main__":
    main()
