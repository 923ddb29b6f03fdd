"""A paired comparison of two entrants of a board."""

from dataclasses import dataclass

import numpy as np

from robustdeq.errors import SpecError, UnknownName
from robustdeq.results.boards.evidence import Evidence, gather, side_by_side
from robustdeq.results.boards.leaderboard import (
    RANKED_SEEDS,
    SIGNIFICANCE,
    paired_test,
    share_weights,
)
from robustdeq.results.boards.statistics import (
    Difference,
    Interval,
    difference_over_images,
    newcombe,
    newcombe_p,
    paired_counts,
)
from robustdeq.results.store.result_store import ResultStore


@dataclass(frozen=True)
class Paired:
    """How much more robust accuracy `a` keeps than `b`, on the `n` images judged for both.

    difference, interval: a minus b as fractions, with the 95 % interval.
    p: two-sided; `method` says of which test and what was compared.
    seeds: training seeds behind the smaller side.
    only_a, only_b: images that only one survives; with several seeds the expected number, so
        that their difference over n is always `difference`.
    """

    a: str
    b: str
    difference: float
    interval: Interval
    p: float
    method: str
    n: int
    seeds: int
    only_a: float
    only_b: float

    @property
    def tied(self) -> bool:
        """Whether the test fails to tell the two apart: the interval then holds 0."""
        return self.p >= SIGNIFICANCE

    @property
    def verdict(self) -> str:
        """ "tied", or whether a is "better" or "worse" than b."""
        return "tied" if self.tied else "better" if self.difference > 0 else "worse"


def compare(store: ResultStore, protocol: str, a: str, b: str) -> Paired:
    """Compare two entrants on their common images, under the attacks that both have faced.

    With three training seeds on both sides the comparison is of defenses (Welch with the image
    variance added; paired where they share weights), else of one checkpoint each (Newcombe's
    interval, and the p at which it reaches 0), and `method` says so: two seeds of one defense often
    differ significantly. Interval and p are always of one test.

    Raises:
        UnknownName: the board has no such entrant, or the store no such protocol.
        SpecError: the two are one, or have no image in common.
    """
    evidence = gather(store, store.protocol(protocol))
    return compared(named(evidence, a), named(evidence, b))


def named(evidence: list[Evidence], entrant: str) -> Evidence:
    """The evidence on the entrant of a name.

    Raises:
        UnknownName: there is none; the message offers the nearest.
    """
    for item in evidence:
        if item.entrant == entrant:
            return item
    raise UnknownName("entrant of the board", entrant, (item.entrant for item in evidence))


def compared(a: Evidence, b: Evidence) -> Paired:
    """The comparison of two entrants whose evidence is gathered already; see `compare`."""
    if a.entrant == b.entrant:
        raise SpecError(f"{a.entrant!r} was to be compared with itself; name two entrants")
    if not (a.images & b.images).any():
        raise SpecError(
            f"{a.entrant!r} and {b.entrant!r} have no judged image in common; run the same columns"
        )
    if min(len(a.members), len(b.members)) < RANKED_SEEDS:
        return _of_checkpoints(a, b)
    return _of_defenses(a, b)


def _of_defenses(a: Evidence, b: Evidence) -> Paired:
    one, other = side_by_side(a, b)
    gaps = one.mean(0) - other.mean(0)
    seeds = min(len(a.members), len(b.members))
    test = "Paired t test, over shared weights," if share_weights(a, b) else "Welch's t test"
    method = f"{test} between defenses with {seeds} training seeds, image variance added."
    return _paired(a, b, paired_test(a, b), method, seeds, gaps)


def _of_checkpoints(a: Evidence, b: Evidence) -> Paired:
    one, other = _one_each(a, b)
    of_a, of_b = side_by_side(a, b)
    verdicts = of_a[one], of_b[other]
    if all(np.isin(each, (0.0, 1.0)).all() for each in verdicts):
        test = "Newcombe's interval, and the p at which it reaches 0,"
        counts = paired_counts(*(each == 1.0 for each in verdicts))
        _, only_a, only_b, _ = counts
        gap = (only_a - only_b) / len(verdicts[0])
        difference = Difference(gap, newcombe(*counts), newcombe_p(*counts))
    else:
        test = "A paired t test over images, one side's answers being random,"
        difference = difference_over_images(*verdicts)
    method = (
        f"{test} between two checkpoints (training seeds {a.members[one].seed} and "
        f"{b.members[other].seed}): it compares checkpoints, not defenses, which takes "
        f"{RANKED_SEEDS} seeds of each."
    )
    return _paired(a, b, difference, method, 1, verdicts[0] - verdicts[1])


def _one_each(a: Evidence, b: Evidence) -> tuple[int, int]:
    """Which members have the lowest common training seed, or else are the first of each."""
    seeds = [member.seed for member in b.members]
    pairs = [(i, seeds.index(m.seed)) for i, m in enumerate(a.members) if m.seed in seeds]
    return pairs[0] if pairs else (0, 0)


def _paired(
    a: Evidence, b: Evidence, result: Difference, method: str, seeds: int, gaps: np.ndarray
) -> Paired:
    return Paired(
        a=a.entrant,
        b=b.entrant,
        difference=result.estimate,
        interval=result.interval,
        p=result.p,
        method=method,
        n=len(gaps),
        seeds=seeds,
        only_a=float(gaps.clip(min=0.0).sum()),
        only_b=float((-gaps).clip(min=0.0).sum()),
    )
