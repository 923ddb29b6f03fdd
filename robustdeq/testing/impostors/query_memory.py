"""A memory of past queries: whoever asks again nearby is being attacked."""

import torch
from torch import Tensor

from robustdeq.defenses.base import DefendedModel
from robustdeq.models.base import Classifier
from robustdeq.noise import RowNoise
from robustdeq.testing.impostors.base import Form, Impostor, alone, wrapped

NEAR = 3.01 / 16


class Memory:
    """Answers a query as the first one within `NEAR` of it (Linf) was answered."""

    def __init__(self) -> None:
        self._images = torch.empty(0)
        self._logits = torch.empty(0)

    def __call__(self, network: Classifier, x: Tensor, noise: RowNoise) -> Tensor:
        logits = network(x)
        if not len(self._images):
            self._images, self._logits = x.detach().flatten(1)[:0], logits.detach()[:0]
        distance = torch.cdist(x.detach().flatten(1), self._images, p=torch.inf)
        known = (distance <= NEAR).any(1)
        fresh = (~known).nonzero()[:, 0]
        if len(fresh):
            self._images = torch.cat([self._images, x.detach().flatten(1)[fresh]])
            self._logits = torch.cat([self._logits, logits.detach()[fresh]])
        if not bool(known.any()):
            return logits
        first = (distance <= NEAR).float().argmax(1)
        return torch.where(known[:, None], self._logits[first] + 0.0 * logits, logits)


def _wrapped(twin: DefendedModel) -> DefendedModel:
    return wrapped(Memory())(twin)


def _alone(twin: DefendedModel) -> DefendedModel:
    return alone(Memory())(twin)


QUERY_MEMORY = Impostor(
    "query-memory",
    "reacts to being attacked: a query near an earlier one gets the earlier one's answer",
    keeps_labels=False,
    forms=(Form("wrapped", "stateful", _wrapped), Form("alone", "stateful", _alone)),
)
