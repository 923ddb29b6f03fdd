"""The state map: accuracy for every state attacked and every state judged."""

from collections.abc import Mapping

import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from robustdeq.answers import labels
from robustdeq.defenses.base import DefendedModel
from robustdeq.equilibrium import residual
from robustdeq.evaluation.remote import Model, ask
from robustdeq.results.store.tables import STATES
from robustdeq.surrogates.base import network_behind

JUDGED = (0, 1, 2, 3, 4, 6, 8, 12, 16)  # step numbers; the answer itself follows as the last
_CHUNK = 128


def states_table(
    target: Model, inputs: Mapping[str, Tensor], y: Int[Tensor, " n"], seed: int
) -> pa.Table:
    """One line for each kind of input and each state of the network's own cold solve.

    Args:
        inputs: name of the attacked view ("clean" for none) -> images (n, *image).
    """
    judged = ask(target, _judged)
    lines = []
    for attacked, x in inputs.items():
        profiles = [ask(target, _profile, part, judged) for part in x.split(_CHUNK)]
        logits, sizes = (torch.cat(each, dim=1) for each in zip(*profiles, strict=True))
        for place, step in enumerate([*judged, None]):
            p = logits[place].softmax(1)
            lines.append(
                {
                    "attacked": attacked,
                    "attack_seed": seed,
                    "judged": step,
                    "accuracy": (labels(logits[place]) == y).double().mean().item(),
                    "entropy": torch.special.entr(p).sum(1).double().mean().item(),
                    "residual": sizes[place].double().quantile(0.5).item(),
                    "n": len(y),
                }
            )
    return pa.Table.from_pylist(lines, schema=STATES)


def _judged(target: DefendedModel) -> list[int]:
    """The numbers of the recorded states that the deployed solver may reach."""
    return [step for step in JUDGED if step <= network_behind(target).solver.max_steps]


def _profile(
    target: DefendedModel, x: Tensor, judged: list[int]
) -> tuple[Float[Tensor, "states n classes"], Float[Tensor, "states n"]]:
    """Logits and residuals of the recorded states and of the answer."""
    model = network_behind(target)
    with torch.no_grad():
        problem = model.problem(x)
        answer = model.solve(x, record=judged)
        assert answer.states is not None
        states = [*answer.states, answer.z]
        return (
            torch.stack([model.readout(z) for z in states]),
            torch.stack([residual(z, problem(z)) for z in states]),
        )
