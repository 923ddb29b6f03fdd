"""Many rows at once: what a row attacks with is computed as soon as its network is trained."""

from collections import Counter
from collections.abc import Callable, Sequence

from robustdeq.engines.local import Job, Place, no_more, run_jobs
from robustdeq.engines.outcome import Outcome
from robustdeq.engines.row import Row
from robustdeq.engines.training import trainings
from robustdeq.entrant import Entrant


def fill(
    rows: Sequence[Row], images: int, where: Place, row_done: Callable[[Entrant], None]
) -> list[Outcome]:
    """Compute whatever the rows lack; the columns of one row run side by side.

    A row whose training fails, and a column, stops no other.

    Args:
        rows: of one protocol.
        images: how many its data slice has.
        row_done: hears of each entrant whose last trial has been stored.

    Raises:
        DataError, StoreError: no job could succeed.
        TrialsFailed: a worker process was killed.
    """
    lacking = {row.entrant.id: row for row in rows if not row.finished(images)}
    if not lacking:
        return []
    row = next(iter(lacking.values()))
    shared = row.protocol, row.results, row.device, row.progress
    # What every row attacks with is there before any attack begins.
    sources = trainings(row.protocol.sources(), *shared)
    outcomes = run_jobs([training.run for training in sources], where, no_more)
    if any(outcome.failures for outcome in outcomes):
        return outcomes
    left: Counter[str] = Counter()

    def job_done(outcome: Outcome) -> list[Job]:
        following = []
        for entrant in outcome.finished:
            if entrant.id not in left:  # trained, and not attacked yet
                attacks = lacking[entrant.id].attacks(images)
                left[entrant.id] = len(attacks)
                following += [attack.run for attack in attacks]
            else:
                left[entrant.id] -= 1
            if not left[entrant.id]:
                row_done(entrant)
        return following

    own = trainings([row.entrant for row in lacking.values()], *shared)
    return outcomes + run_jobs([training.run for training in own], where, job_done)
