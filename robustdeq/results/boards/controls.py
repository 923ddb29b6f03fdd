"""The row that another is to be compared with before all others."""

from robustdeq.results.boards.evidence import Evidence

_EQUAL = ("epochs", "batch_size")  # of two recipes: as many gradient steps


def controls(evidence: list[Evidence]) -> dict[str, Evidence]:
    """The control of each entrant that has one among the evidence, by the entrant's name.

    It is what the entrant's records declare, trained with as many gradient steps; or, where nothing
    is declared, the same weights without what inference does around them.
    """
    found = {item.entrant: _control(item, evidence) for item in evidence}
    return {name: control for name, control in found.items() if control is not None}


def _control(item: Evidence, evidence: list[Evidence]) -> Evidence | None:
    fits = _declared if item.ranks_against is not None else _inner
    images = [other for other in evidence if (item.images & other.images).any()]
    fitting = [other for other in images if fits(item, other)]
    # Of several the whole row, then the one that keeps most of the chain.
    return max(fitting, key=lambda other: (other.complete, len(other.chain)), default=None)


def _declared(item: Evidence, other: Evidence) -> bool:
    recipes = item.spec["recipe"], other.spec["recipe"]
    steps = [[recipe.get(name) for name in _EQUAL] for recipe in recipes]
    return other.spec["defense"] == item.ranks_against and steps[0] == steps[1]


def _inner(item: Evidence, other: Evidence) -> bool:
    within = item.chain.endswith(f"/{other.chain}")
    return within and item.checkpoints == other.checkpoints
