"""What an entrant's code keeps outside of the model that is asked."""

import hashlib

from robustdeq.defenses.base import DefendedModel
from robustdeq.definition import definition
from robustdeq.errors import SpecError
from robustdeq.evaluation.checks import Finding
from robustdeq.evaluation.remote import Model, ask


class Remembered:
    """Notes what the code of a model keeps; asked again, whether that has changed meanwhile.

    Copies of a model share the globals of its module, the attributes of its classes and the
    defaults of its functions, so no fresh copy forgets what is kept there. Begun once a model has
    answered, so that what is computed for the first question counts for nothing.
    """

    def __init__(self, model: Model):
        self._model, self._before = model, ask(model, _kept)

    def findings(self) -> list[Finding]:
        """The flag of a model whose answers may hang on what it was asked before."""
        if ask(self._model, _kept) == self._before:
            return []
        detail = "a global, a class attribute or a default of its code changed as it was asked"
        return [Finding("stateful", detail)]


def _kept(target: DefendedModel) -> str:
    """The digest of all that somebody else's classes of a chain can reach, as it is now."""
    sha = hashlib.sha256()
    for kind in (type(part) for part in target.defense.parts):
        if not kind.__module__.startswith("robustdeq."):
            try:
                sha.update(definition(kind).encode())
            except SpecError:  # it reaches what cannot be told apart: nothing is known of it
                continue
    return sha.hexdigest()
