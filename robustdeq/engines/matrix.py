"""Many rows at once: what a row attacks with is computed as soon as its network is trained."""

from collections import Counter
from collections.abc import Callable, Sequence

from robustdeq.engines.local import Job, Place, no_more, run_jobs
from robustdeq.engines.outcome import Outcome, failed
from robustdeq.engines.row import Row
from robustdeq.engines.training import bases, by_id, loaded, trainings
from robustdeq.entrant import Entrant
from robustdeq.errors import SpecError
from robustdeq.progress import Display
from robustdeq.training.trained import require_same


def fill(
    rows: Sequence[Row], images: int, where: Place, row_done: Callable[[Entrant], None]
) -> list[Outcome]:
    """Compute whatever the rows lack; the columns of one row run side by side.

    A row whose training fails, and a column, stops no other. A row that could never be trained is
    told before anything is.

    Args:
        rows: of one protocol.
        images: how many its data slice has.
        row_done: hears of each entrant whose last trial has been stored.

    Raises:
        DataError, StoreError: no job could succeed.
        TrialsFailed: a worker process was killed.
    """
    lacking, refused = _fit([row for row in rows if not row.finished(images)], where.display)
    if not lacking:
        return refused
    row = next(iter(lacking.values()))
    shared = row.protocol, row.results, row.device
    # What every row attacks with is there before any attack begins.
    sources = trainings(by_id(row.protocol.sources(loaded(row.protocol))), *shared)
    made = run_jobs(sources, where, no_more)
    if any(outcome.failures for outcome in made):
        return refused + made
    entrants = {name: row.entrant for name, row in lacking.items()}
    made += run_jobs(trainings(by_id(bases(entrants.values())), *shared), where, no_more)
    left: Counter[str] = Counter()

    def job_done(outcome: Outcome) -> list[Job]:
        following = []
        for entrant in outcome.finished:
            row = lacking[entrant]
            if entrant in left:
                left[entrant] -= 1
            elif changed := _changed(row.entrant, entrant, where.display):
                refused.append(changed)
                continue
            else:  # trained, and not attacked yet
                attacks = row.attacks(images)
                left[entrant] = len(attacks)
                following += attacks
            if not left[entrant]:
                row_done(row.entrant)
        return following

    made += run_jobs(trainings(entrants, *shared), where, job_done)
    return refused + made  # in this order: the run has refused rows as well


def _changed(entrant: Entrant, begun: str, display: Display) -> Outcome | None:
    """The failure of an entrant whose files are not those any more that its row began with."""
    try:
        require_same(entrant.chain, begun, entrant.id)
    except SpecError as error:
        return Outcome((), (failed(entrant.chain, error, display),))
    return None


def _fit(rows: Sequence[Row], display: Display) -> tuple[dict[str, Row], list[Outcome]]:
    """The rows that can be filled, by the id of their entrant, and the refusals of the others."""
    outcomes = [row.check(display) for row in rows]
    fit = {row.entrant.id: row for row, each in zip(rows, outcomes, strict=True) if each.finished}
    return fit, [outcome for outcome in outcomes if outcome.failures]
