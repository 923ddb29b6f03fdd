"""The unmodified AutoAttack of its authors, behind a surface."""

import logging
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

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
from robustdeq.threats.base import ThreatModel

_VARIANTS = ("standard", "plus", "rand")
_ATTACKS = ("apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square")
_FEWEST_CLASSES = {"apgd-dlr": 3, "apgd-t": 4}  # what the DLR losses divide by

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AutoAttack(Attack):
    """The ensemble of Croce and Hein 2020 ("Reliable evaluation of adversarial robustness with an
    ensemble of diverse parameter-free attacks"), section 6, as its authors' code runs it.

    Runs `pyautoattack`, the authors' code on PyPI, or an installed `autoattack` (the upstream
    repository). `variant` sets the library's own budgets (standard: APGD-CE, APGD-T, FAB-T of 100
    steps and Square of 5000 queries); `attacks` runs a part of it with the same budgets. The number
    of target classes is the library's 9, or all wrong classes where there are fewer. What its
    checks say goes to this module's logger, at level INFO.

    One candidate: the library returns an image changed only where the surrogate's label moved.

    Raises:
        UnknownName: no such variant or attack.
        SpecError: the extra is not installed, an attack's loss needs more classes than the model
            has, or the threat is neither linf nor l2.
    """

    variant: Literal["standard", "plus", "rand"] = "standard"
    attacks: tuple[str, ...] = ()

    needs_logits_form: ClassVar[bool] = True

    def __post_init__(self):
        if self.variant not in _VARIANTS:
            raise UnknownName("variant of AutoAttack", self.variant, _VARIANTS)
        for attack in self.attacks:
            if attack not in _ATTACKS:
                raise UnknownName("attack of AutoAttack", attack, _ATTACKS)

    def run(self, search: Search) -> None:
        library, samples = import_extra("pyautoattack", "autoattack"), search.samples
        if not len(samples):
            return
        seed, device = search.noise.child("autoattack").seed, samples.images.device
        with sealed(seed) as said:
            module = SurfaceModule(search.surface, device).eval()
            ensemble = self._ensemble(library, module, search.threat, seed, device)
            self._fit_to_classes(ensemble, class_count(search))
            x_adv = _run(library, ensemble, *library_input(samples))
        for line in said:
            _log.info("AutoAttack: %s", line)
        search.put_forward(x_adv.detach().to(samples.images))

    def _ensemble(
        self,
        library: Any,
        module: SurfaceModule,
        threat: ThreatModel,
        seed: int,
        device: torch.device,
    ) -> Any:
        ensemble = library.AutoAttack(
            module,
            norm=library_norm(threat),
            eps=float(threat.eps),
            seed=seed,
            version=self.variant,
            device=device,
        )
        if self.attacks:
            ensemble.attacks_to_run = list(self.attacks)
        return ensemble

    def _fit_to_classes(self, ensemble: Any, classes: int) -> None:
        for attack in ensemble.attacks_to_run:
            needed = _FEWEST_CLASSES.get(attack, 2)
            if classes < needed:
                raise SpecError(
                    f"AutoAttack's {attack!r} needs at least {needed} classes, the model has "
                    f'{classes}; use attacks = ["apgd-ce", "fab-t", "square"]'
                )
        ensemble.apgd_targeted.n_target_classes = min(9, classes - 1)
        ensemble.fab.n_target_classes = min(9, classes - 1)


def _run(library: Any, ensemble: Any, x: Tensor, y: Tensor) -> Tensor:
    """The adversarial images; the two packages differ in this call."""
    if library.__name__ == "pyautoattack":
        return ensemble.run_standard_evaluation(x, y, batch_size=len(x))[0]
    return ensemble.run_standard_evaluation(x, y, bs=len(x))
