"""The same questions in float64: does a verdict hang on rounding?"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.overrides import TorchFunctionMode

from robustdeq.defenses.base import DefendedModel
from robustdeq.errors import Unchecked
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.solvers.anderson import Anderson

Answer = TypeVar("Answer")

_TIGHT = Anderson(tol=1e-8, max_steps=500, every=2)


def in_double(target: DefendedModel) -> DefendedModel:
    """A copy whose parameters and buffers are float64; what it holds besides, `ask` sees to."""
    return replace(target, classifier=copy.deepcopy(target.classifier).double())


def ask(question: Callable[[], Answer]) -> Answer:
    """The answer to a question in float64, which has had one in float32.

    Where an operation meets float64 and float32 the latter is promoted: a kernel that a network or
    a defense keeps as a plain tensor, anywhere, is no obstacle.

    Raises:
        Unchecked: there is none, so that a check which needs it cannot be made; the reason in a
            sentence. Running out of memory is no such reason.
    """
    try:
        with _Promoting():
            return question()
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Unchecked(f"could not be asked in float64 ({reason})") from error


def flips(
    target: DefendedModel, x: Tensor, labels: Int[Tensor, " batch"]
) -> Bool[Tensor, " batch"]:
    """Which rows another solver in float64 at 1e-8 labels differently.

    Listed beside the verdicts and never used to change one: what is deployed is judged. A defense
    with its own inference is not re-run in float64, nor is a network without an equilibrium.

    Raises:
        Unchecked: the network cannot be asked in float64.
    """
    model = target.classifier
    acts = target.defense.at_inference.acts
    if not isinstance(model, EquilibriumNetwork) or acts or not len(x):
        return torch.zeros(len(x), dtype=torch.bool, device=x.device)
    tight = copy.deepcopy(model).double().replaced(solver=_TIGHT)
    parts = [ask(lambda part=part: tight.predict(part).labels) for part in x.double().split(128)]
    return torch.cat(parts) != labels


class _Promoting(TorchFunctionMode):
    """Hands every operation that is given float64 its float32 tensors as float64, too."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [*_tensors(args), *_tensors(kwargs.values())]
        name = getattr(func, "__name__", "")
        writes = name.endswith("_") or name == "__setitem__"  # into a tensor that keeps its type
        if writes or all(each.dtype != torch.float64 for each in given):
            return func(*args, **kwargs)
        return func(*map(_promoted, args), **{key: _promoted(kwargs[key]) for key in kwargs})


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    return [value for value in values if isinstance(value, Tensor)]


def _promoted(value: Any) -> Any:
    single = isinstance(value, Tensor) and value.dtype == torch.float32
    return value.double() if single else value
