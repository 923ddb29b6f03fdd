"""What an image costs when there are more of them.

    python -m benchmarks.timing.scaling [--cell stock] [--images 128 512 1024 10000] [--repeats 2]

Fast PGD-10 on so many images, test images over and over under row numbers of their own, in the
chunks that `robustdeq.engines.chunks` chooses. One thread. The cost of the first count is 1.
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
from robustdeq.results.markdown import table
from robustdeq.surrogates.defended import Defended

HEADER = ("cell", "images", "chunk", "evaluations an image", "CPU ms an image", "of the first")
ATTACK = PGD(steps=10)


def attacked(case: Subject, count: int, chunk: int) -> Callable[[int], Outcome]:
    """A run of the attack on `count` images."""
    test = case.data.test
    rows = torch.arange(count)

    def run(seed: int) -> Outcome:
        noise = NoiseStream(seed)
        surface = Defended(mode="fast").bind(case.target, noise)
        found = []
        for some in rows.split(chunk):
            places = some % len(test)
            x, y = test.images[places], test.labels[places]
            found.append(ATTACK.perturb(surface, x, y, some, case.threat, noise)[0])
        counts = surface.cost.counts
        return Outcome(torch.cat(found), (counts["forward"] + counts["vjp"]) / count)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cell", choices=tuple(SUBJECTS), default="stock")
    parser.add_argument("--images", type=int, nargs="+", default=[128, 512, 1024, 10000])
    parser.add_argument("--repeats", type=int, default=2, help="of every count")
    options = parser.parse_args()
    case = find_subject(options.cell)
    chunk = chunk_size(state_size(case.model), "cpu")
    attacked(case, chunk, chunk)(0)  # the first call of a process pays for the others
    runs = {str(count): attacked(case, count, chunk) for count in options.images}
    rows, first = [], None
    for count, results in take_turns(runs, options.repeats, 1).items():
        each = Spread.of([1000 * lap.cpu / int(count) for _, lap in results])
        first = first or each.median
        evaluations = f"{results[0][0].evaluations:.0f}"
        share = f"{each.median / first:.2f}"
        rows.append([case.name, count, str(chunk), evaluations, str(each), share])
    print(table(HEADER, rows, left=HEADER[:1]), end="\n\n")
    print(f"fast PGD-10, one thread; {machine()}")


if __name__ == "__main__":
    main()
