"""The default attack surface: the whole defended path."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from robustdeq.attacks.approach import Approach
from robustdeq.defenses.base import DefendedModel
from robustdeq.defenses.returned import tensor
from robustdeq.models.equilibrium_network import EquilibriumNetwork, through_solvers
from robustdeq.noise import NoiseStream, RowNoise
from robustdeq.surface import Cost, Surface
from robustdeq.surfaces.equilibrium import EquilibriumSurface
from robustdeq.surfaces.fast import FastSurface
from robustdeq.surfaces.network import (
    AutogradSurface,
    counted_network,
    network_surface,
    through_solver_surface,
)
from robustdeq.surrogates.base import Sources, Surrogate, confirmed, positions, straight_through

Path = Callable[[DefendedModel, Tensor, RowNoise], Tensor]  # differentiable logits of `infer`

_FAST_LOOKS = 5  # between two confirmations: a cold solve costs many looks in fast mode


@dataclass(frozen=True)
class Defended(Surrogate):
    """The function that is judged, with the best gradient the harness knows of it.

    For an equilibrium network the exact implicit gradient, or through the solver where a row does
    not converge or was seen to have several equilibria, and everywhere if the deployed solver stops
    short of equilibria; never the adjoint that trained it. An input transform is part of the
    function and has the identity as its derivative. A defense with its own `infer` is attacked
    through its `relaxed` form.

    Attributes:
        mode: "exact" solves state and adjoint to the deployed tolerance at every step;
            "through-solver" goes back through the deployed solver's own steps, whether or not a row
            converges; "fast" lets state and adjoint advance one step with the perturbation (see
            `FastSurface`). In all of them only the deployed predictor's answer counts. Networks
            without an equilibrium, and inference by a path of its own, have one mode.
    """

    mode: Literal["exact", "through-solver", "fast"] = "exact"

    def applies(self, target: DefendedModel) -> str | None:
        return None

    def bind(self, target: DefendedModel, noise: NoiseStream, sources: Sources = ()) -> Approach:
        model, answers = target.classifier, target.defense.at_inference.answers
        if not isinstance(model, EquilibriumNetwork) or answers:
            return confirmed(relaxed_surface(target, noise), target, noise)
        prepare = straight_through(target, noise)
        if self.mode == "through-solver" or not model.solver.finds_equilibria:
            return confirmed(through_solver_surface(model, prepare), target, noise)
        if self.mode == "fast":
            return confirmed(FastSurface(model, prepare), target, noise, _FAST_LOOKS)
        return confirmed(EquilibriumSurface(model, prepare), target, noise)


def relaxed_surface(target: DefendedModel, noise: NoiseStream) -> Surface:
    """The defense's own differentiable stand-in."""

    def relaxed(target: DefendedModel, x: Tensor, draws: RowNoise) -> Tensor:
        return target.defense.relaxed(target, x, draws)

    return inference_surface(relaxed, target, noise)


def inference_surface(path: Path, target: DefendedModel, noise: NoiseStream) -> Surface:
    """Logits of the defense's inference by a path of its own.

    Equilibria inside are differentiated through their solvers, whatever adjoint they train with.
    What is booked are evaluations of the cell, or of a network that has none.
    """
    stream, cost = noise.child("relaxed"), Cost()
    network = through_solvers(target.classifier)
    if isinstance(network, EquilibriumNetwork):
        network = counted_network(network, cost)
    seen = replace(target, classifier=network)

    def logits(x: Tensor, rows: Tensor | None) -> Tensor:
        found = path(seen, x.clone(), stream.sealed(positions(x, rows)))
        return tensor(found, f"{target.defense.chain}: `{path.__name__}`", (len(x), "classes"))

    if isinstance(network, EquilibriumNetwork):
        return AutogradSurface(logits, logits, cost)
    return network_surface(logits)
