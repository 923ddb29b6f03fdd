"""How near the engine comes to what the machine can do.

    python -m benchmarks.timing.limits [--cell slow stock] [--images 128] [--repeats 5]

One thread. Only convolutions count as work, 2 multiply-adds' worth a weight and pixel, for an
evaluation of the cell and for a vector-Jacobian product alike. "In an attack": counted evaluations
of a whole PGD run, random start to confirmation, over its CPU time.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.timing.clock import Spread, headline, machine, take_turns
from benchmarks.timing.contests import CHUNK, pgd
from benchmarks.timing.options import add_device
from benchmarks.timing.subjects import SUBJECTS, Subject, find_subject
from robustdeq.data.base import Split
from robustdeq.results.formats.markdown import table
from robustdeq.results.text import per_cent

MATRIX = 1024
HEADER = ("cell", "work", "GFLOP/s", "per cent of its convolution")


def flops(cell: nn.Module, side: tuple[int, int]) -> int:
    """Floating-point operations of a cell's convolutions for one image, sides kept."""
    weights = sum(m.weight.numel() for m in cell.modules() if isinstance(m, nn.Conv2d))
    return 2 * weights * side[0] * side[1]


def convolution(channels: int, side: tuple[int, int], batch: int) -> tuple[nn.Module, Tensor]:
    """The bare 3x3 convolution of a cell, and an input for it."""
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False).requires_grad_(False)
    return layer, torch.rand(batch, channels, *side)


def rate(work: int, seconds: list[float]) -> Spread:
    """GFLOP/s of some runs of the same work."""
    return Spread.of([work / second / 1e9 for second in seconds])


def raw_rates(case: Subject, repeats: int, calls: int = 50) -> dict[str, Spread]:
    """GFLOP/s of a matrix product, of the cell's convolution, and of the cell."""
    channels, height, width = case.model.state
    layer, pixels = convolution(channels, (height, width), CHUNK)
    layer, pixels = layer.to(case.device), pixels.to(case.device)
    matrix = torch.rand(MATRIX, MATRIX, device=case.device)
    work: dict[str, tuple[Callable[[], Tensor], int]] = {
        "matrix product": (lambda: matrix @ matrix, 2 * MATRIX**3),
        "convolution": (lambda: layer(pixels), CHUNK * flops(layer, (height, width))),
        "cell": (lambda: case.model.cell(pixels, pixels), CHUNK * cell_flops(case)),
    }
    laps = take_turns({name: _often(call, calls) for name, (call, _) in work.items()}, repeats, 1)
    return {
        name: rate(calls * operations, [headline(lap, case.device) for _, lap in laps[name]])
        for name, (_, operations) in work.items()
    }


def sustained_rates(case: Subject, split: Split, repeats: int) -> dict[str, Spread]:
    """GFLOP/s of the cell inside our modes of PGD."""
    found = {}
    for name, results in take_turns(pgd(case, split).ours, repeats, 1).items():
        work = len(split) * cell_flops(case)
        per_run = [o.evaluations * work / headline(lap, case.device) for o, lap in results]
        found[f"in {name}"] = Spread.of([each / 1e9 for each in per_run])
    return found


def cell_flops(case: Subject) -> int:
    """Operations of one evaluation for one image."""
    _, height, width = case.model.state
    return flops(case.model.cell, (height, width))


def _often(call: Callable[[], Tensor], calls: int) -> Callable[[int], None]:
    def run(turn: int) -> None:
        with torch.no_grad():
            for _ in range(calls):
                call()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cell", nargs="+", choices=tuple(SUBJECTS), default=["slow", "stock"])
    parser.add_argument("--images", type=int, default=128, help="attacked at a time")
    parser.add_argument("--repeats", type=int, default=5, help="of everything")
    add_device(parser)
    options = parser.parse_args()
    rows = []
    for name in options.cell:
        case = find_subject(name).on(options.device)
        found = raw_rates(case, options.repeats)
        found |= sustained_rates(case, case.data.test.take(options.images), options.repeats)
        limit = found["convolution"].median
        rows += [
            [name, work, str(speed), per_cent(speed.median / limit)]
            for work, speed in found.items()
        ]
    print(table(HEADER, rows, left=HEADER[:2]), end="\n\n")
    print(f"one thread, batch {CHUNK}, {options.images} images attacked; {machine()}")


if __name__ == "__main__":
    main()
