"""What defenses share that read other states than the answer's."""

import torch
from torch import Tensor

from robustdeq.defenses.base import DefendedModel, Task, Wrapper
from robustdeq.errors import SpecError
from robustdeq.models.equilibrium_network import EquilibriumNetwork, require_equilibrium
from robustdeq.noise import RowNoise


def refuse_own_inference(wrapper: Wrapper) -> None:
    """
    Raises:
        SpecError: the base answers by an `infer` of its own, which this wrapper would replace.
    """
    if wrapper.base.at_inference.answers:
        raise SpecError(
            f"{wrapper.chain}: {wrapper.plugin_name()} reads the network's own states, and "
            f"{wrapper.base.chain} has an inference of its own; wrap only one of the two"
        )


def network_with_states(wrapper: Wrapper, task: Task, last: int) -> EquilibriumNetwork:
    """The base's network, whose solver goes as far as state `last`.

    Raises:
        SpecError: it has no states, or the state lies beyond the solver's step limit.
    """
    model = require_equilibrium(wrapper.base.build(task), wrapper.chain)
    if last > model.solver.max_steps:
        raise SpecError(
            f"{wrapper.chain}: state {last} lies beyond the {model.solver.max_steps} steps of the "
            f"solver of {wrapper.base.chain}; choose 1 to {model.solver.max_steps}"
        )
    return model


def transformed(target: DefendedModel, x: Tensor, noise: RowNoise) -> Tensor:
    """The chain's own `transform` of x, with the identity as its derivative."""
    if not target.defense.at_inference.rewrites:
        return x
    with torch.no_grad():
        answer = target.transformed(x.clone(), noise)
    return answer.detach() + (x - x.detach())
