"""Where the time of an attack goes.

    python -m benchmarks.timing.profile [--cell slow stock] [--images 128]

Torch's own profiler over a short run of each mode on one thread; each operator's own time, by
kind, as a share of the whole. What no operator accounts for is Python, the profiler's own
hooks among it. "In a chunk of 16": the same for the first 16 images alone, as chunks are towards
their end.
"""

import argparse
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from torch.profiler import ProfilerActivity, profile

from benchmarks.timing.clock import machine, timed, torch_threads
from benchmarks.timing.contests import Run, pgd
from benchmarks.timing.subjects import SUBJECTS, find_subject
from robustdeq.results.formats.markdown import table
from robustdeq.results.text import per_cent

# kind -> parts of an operator's name; the first that fits
KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "convolution, backward": ("convolution_backward",),
        "convolution": ("conv",),
        "normalisation": ("norm_", "group_norm", "native_group"),
        "products": ("mm", "bmm", "linear", "dot", "linalg", "lu_"),
        "copies": ("copy", "index", "cat", "clone", "fill", "zero", "empty", "gather", "scatter"),
        "elementwise": ("aten::",),
    }
)
HEADER = ("cell", "attack", *KINDS, "Python")


def shares(run: Run) -> dict[str, float]:
    """Each kind's share of one run's CPU time."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        _, lap = timed(lambda: run(0))
    spent = Counter()
    for event in seen.key_averages():
        kind = next((k for k, parts in KINDS.items() if any(p in event.key for p in parts)), None)
        if kind is not None:
            spent[kind] += event.self_cpu_time_total / 1e6
    found = {kind: spent[kind] / lap.wall for kind in KINDS}
    return {**found, "Python": max(0.0, 1 - sum(found.values()))}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cell", nargs="+", choices=tuple(SUBJECTS), default=["slow", "stock"])
    parser.add_argument("--images", type=int, default=128, help="attacked")
    options = parser.parse_args()
    rows = []
    with torch_threads(1):
        for name in options.cell:
            case = find_subject(name)
            for count, where in ((options.images, ""), (16, ", in a chunk of 16")):
                contest = pgd(case, case.data.test.take(count), steps=5, fast_steps=(12,))
                for attack, run in contest.ours.items():
                    run(0)  # the first call of a process pays for the others
                    found = shares(run)
                    rows.append([name, attack + where, *map(per_cent, found.values())])
    print(table(HEADER, rows, left=HEADER[:2]), end="\n\n")
    print(f"per cent of the time, {options.images} images; {machine()}")


if __name__ == "__main__":
    main()
