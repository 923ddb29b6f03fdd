"""Any unmodified attack of the library torchattacks, behind a surface."""

import importlib.util
import inspect
import logging
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import torch

from robustdeq.attacks.base import Attack
from robustdeq.attacks.facade import (
    SurfaceModule,
    class_count,
    import_extra,
    library_input,
    library_norm,
    sealed,
)
from robustdeq.attacks.search import Search
from robustdeq.errors import SpecError, UnknownName

# What the trial decides, under every name that the library has for it.
_RADII = ("eps", "max_epsilon")
_DECIDED = (*_RADII, "norm", "n_classes", "seed")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TorchAttacks(Attack):
    """An attack class of torchattacks (Kim 2020, "Torchattacks: a PyTorch repository for
    adversarial attacks") by its name there, run unmodified.

    `options` are its keyword arguments as (name, value) pairs; a value is a number, a truth value
    or a text, and a text like "2/255" is that fraction. Radius, norm, number of classes and seed
    come from the trial. The library's own defaults hold for the rest: its AutoAttack, for example,
    takes 10 steps where the authors' takes 100.

    One candidate. Attacks without a radius (CW, DeepFool, ...) search for the nearest adversarial
    input; where that lies outside the threat set they have failed, and the candidate is x.

    Raises:
        UnknownName: torchattacks has no such attack.
        SpecError: an option that the attack does not have, is given twice, is decided by the trial
            or is no plain value; or the extra is not installed. Checked at once where it is.
    """

    attack: str = "PGD"
    options: tuple[tuple[str, Any], ...] = ()

    needs_logits_form: ClassVar[bool] = True

    def __post_init__(self):
        names = [name for name, _ in self.options]
        if len(names) > len(set(names)):
            raise SpecError(f"options of {self.attack!r} name one twice: {', '.join(names)}")
        # In one order, so that a spec has one digest however it was written down.
        object.__setattr__(self, "options", tuple(sorted(tuple(pair) for pair in self.options)))
        for name, value in self.options:
            _number(name, value)
        if importlib.util.find_spec("torchattacks"):
            self._constructor()

    def run(self, search: Search) -> None:
        construct, accepted = self._constructor()
        samples, threat = search.samples, search.threat
        if not len(samples):
            return
        seed = search.noise.child("torchattacks", self.attack).seed
        with sealed(seed) as said:
            given = {name: _number(name, value) for name, value in self.options}
            decided = dict.fromkeys(_RADII, float(threat.eps)) | {
                "norm": library_norm(threat),
                "n_classes": class_count(search),
                "seed": seed,
            }
            given |= {name: value for name, value in decided.items() if name in accepted}
            module = SurfaceModule(search.surface, samples.images.device).eval()
            attack = construct(module, **given)
            x_adv = attack(*library_input(samples)).detach().to(samples.images)
        for line in said:
            _log.info("torchattacks %s: %s", self.attack, line)
        if accepted.isdisjoint(_RADII):
            inside = threat.contains(samples.images, x_adv).reshape(-1, *[1] * (x_adv.ndim - 1))
            x_adv = torch.where(inside, x_adv, samples.images)
        search.put_forward(x_adv)

    def _constructor(self) -> tuple[Any, set[str]]:
        """The library's class and the keyword arguments it takes; refuses other options."""
        library = import_extra("torchattacks")
        known = {name: _keywords(getattr(library, name)) for name in library.__all__}
        usable = {name: keywords for name, keywords in known.items() if keywords is not None}
        if self.attack not in usable:
            raise UnknownName("attack of torchattacks", self.attack, usable)
        accepted = usable[self.attack]
        for name, _ in self.options:
            if name in _DECIDED:
                raise SpecError(
                    f"option {name!r} of {self.attack!r} is decided by the trial; leave it out"
                )
            if name not in accepted:
                raise UnknownName(f"option of {self.attack}", name, accepted.difference(_DECIDED))
        return getattr(library, self.attack), accepted


def _keywords(attack: type) -> set[str] | None:
    """The optional arguments of an attack class; None if it needs more than a model."""
    parameters = list(inspect.signature(attack).parameters.values())
    options = parameters[1:]
    needs_more = any(option.default is inspect.Parameter.empty for option in options)
    if parameters[0].name != "model" or needs_more:
        return None  # wrappers around other attacks
    return {option.name for option in options}


def _number(name: str, value: Any) -> bool | int | float | str:
    """An option's value as the library takes it: fractions as floats, all else as it stands."""
    if not isinstance(value, (bool, int, float, str)):
        raise SpecError(f"option {name} = {value!r} is no number, truth value or text")
    if isinstance(value, str) and "/" in value:
        try:
            return float(Fraction(value))
        except (ValueError, ZeroDivisionError):
            raise SpecError(f'option {name} = {value!r} is no fraction like "2/255"') from None
    return value
