"""Checks of the counted budgets that attacks take as fields."""

from robustdeq.attacks.base import Attack
from robustdeq.errors import SpecError


def require_counts(attack: Attack, *fields: str) -> None:
    """Refuse a budget that is no positive whole number.

    Raises:
        SpecError: names the attack, the field and its value.
    """
    for field in fields:
        value = getattr(attack, field)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise SpecError(
                f"attack {attack.plugin_name()!r}: {field} = {value!r}; "
                "expected a whole number of at least 1"
            )
