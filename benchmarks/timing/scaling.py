"""What an image costs when there are more of them, or when more are attacked together.

    python -m benchmarks.timing.scaling [--cell stock] [--images 128 512 1024 10000]
        [--chunk 128 256 512] [--mode fast] [--repeats 2]

PGD-10 on so many images, test images over and over under row numbers of their own, in chunks of so
many; those that `robustdeq.engines.chunks` chooses where none are given. One thread. The cost of
the first line is 1.
"""

import argparse
from collections.abc import Callable

import torch

from benchmarks.timing.clock import Spread, machine, take_turns
from benchmarks.timing.contests import Outcome
from benchmarks.timing.subjects import SUBJECTS, Subject, find_subject
from robustdeq.attacks.pgd import PGD
from robustdeq.engines.chunks import chunk_size, state_size
from robustdeq.noise import NoiseStream
from robustdeq.results.formats.markdown import table
from robustdeq.samples import Samples
from robustdeq.surrogates.defended import Defended

HEADER = ("cell", "images", "chunk", "evaluations an image", "CPU ms an image", "of the first")
ATTACK = PGD(steps=10)


def attacked(case: Subject, count: int, chunk: int, view: Defended) -> Callable[[int], Outcome]:
    """A run of the attack on `count` images."""
    test = case.data.test
    rows = torch.arange(count)

    def run(seed: int) -> Outcome:
        noise = NoiseStream(seed)
        approach = view.bind(case.target, noise)
        found = []
        for some in rows.split(chunk):
            places = some % len(test)
            samples = Samples(test.images[places], test.labels[places], some)
            found.append(ATTACK.perturb(approach, samples, case.threat, noise)[0])
        counts = approach.surface.cost.counts
        return Outcome(torch.cat(found), (counts["forward"] + counts["vjp"]) / count)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cell", choices=tuple(SUBJECTS), default="stock")
    parser.add_argument("--images", type=int, nargs="+", default=[128, 512, 1024, 10000])
    parser.add_argument("--chunk", type=int, nargs="+", help="default: what the engine chooses")
    parser.add_argument("--mode", choices=("fast", "exact"), default="fast")
    parser.add_argument("--repeats", type=int, default=2, help="of every line")
    options = parser.parse_args()
    case, view = find_subject(options.cell), Defended(mode=options.mode)
    chunks = options.chunk or [chunk_size(state_size(case.model), case.device)]
    attacked(case, 128, 128, view)(0)  # the first call of a process pays for the others
    lines = {f"{n} {chunk}": (n, chunk) for n in options.images for chunk in chunks}
    runs = {name: attacked(case, *line, view) for name, line in lines.items()}
    rows, first = [], None
    for name, results in take_turns(runs, options.repeats, 1).items():
        count, chunk = lines[name]
        each = Spread.of([1000 * lap.cpu / count for _, lap in results])
        first = first or each.median
        evaluations = f"{results[0][0].evaluations:.0f}"
        share = f"{each.median / first:.2f}"
        rows.append([case.name, str(count), str(chunk), evaluations, str(each), share])
    print(table(HEADER, rows, left=HEADER[:1]), end="\n\n")
    print(f"{options.mode} PGD-10, one thread; {machine()}")


if __name__ == "__main__":
    main()
