"""What a library attack is shown: a plain module over a surface, in a sealed room."""

import contextlib
import importlib
import importlib.util
import io
import logging
import random
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from robustdeq.answers import bounded
from robustdeq.attacks.search import Search
from robustdeq.errors import SpecError
from robustdeq.samples import Samples
from robustdeq.surface import Surface
from robustdeq.threats.base import ThreatModel

_LIBRARY_NORMS = {"linf": "Linf", "l2": "L2"}


class SurfaceModule(nn.Module):
    """An `nn.Module` from images to logits behind which a `Surface` does the work.

    A library may call `eval()`, freeze parameters or ask for their device: it reaches only this
    shell and its one idle parameter, never the model. Input is made contiguous float32, output is a
    fresh tensor, because Square writes into the logits that it is given, and finite where a class
    is ruled out, because the libraries subtract logits from each other.

    `queries` counts the images evaluated.
    """

    def __init__(self, surface: Surface, device: torch.device):
        super().__init__()
        # The bound method, not the surface: nn.Module would adopt a surface that is a module.
        self._logits = surface.differentiable_logits
        self.queries = 0
        self.idle = nn.Parameter(torch.zeros((), device=device), requires_grad=False)

    def forward(self, x: Tensor) -> Float[Tensor, "batch classes"]:
        self.queries += len(x)
        return bounded(self._logits(x.to(torch.float32).contiguous()))


@contextlib.contextmanager
def sealed(seed: int) -> Iterator[list[str]]:
    """Run library code without letting it touch, or be touched by, global state.

    The random generators of torch (all devices), numpy and Python are seeded inside and restored on
    the way out, as are the tracer (AutoAttack's check for dynamic defenses removes it), the warning
    filters and the gradient mode; AutoAttack's call counters, which one flagged model would leave
    raised for all later ones, start at zero. All this holds when the library raises, too.

    Yields:
        The list that receives, by the end, what the library printed, logged and warned about.
    """
    said: list[str] = []
    tracer, python_state, numpy_state = sys.gettrace(), random.getstate(), np.random.get_state()
    printed, listener = io.StringIO(), _Listener(said)
    logger = logging.getLogger("auto-attack")
    _reset_counters()
    logger.addHandler(listener)
    try:
        with (
            torch.random.fork_rng(devices=range(torch.cuda.device_count())),
            torch.enable_grad(),
            warnings.catch_warnings(record=True) as caught,
            contextlib.redirect_stdout(printed),
        ):
            warnings.simplefilter("always")
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            try:
                yield said
            finally:
                said.extend(str(warning.message) for warning in caught)
    finally:
        said.extend(printed.getvalue().splitlines())
        logger.removeHandler(listener)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        sys.settrace(tracer)


def library_input(
    samples: Samples,
) -> tuple[Float[Tensor, "batch *image"], Int[Tensor, " batch"]]:
    """Copies that a library may write into: contiguous float32 images, int64 labels."""
    images = samples.images.to(torch.float32).clone(memory_format=torch.contiguous_format)
    return images, samples.labels.to(torch.int64).clone()


def library_norm(threat: ThreatModel) -> str:
    """The libraries' word for the norm of a threat model.

    Raises:
        SpecError: they have none.
    """
    name = threat.plugin_name()
    if name not in _LIBRARY_NORMS:
        raise SpecError(
            f"library attacks know the threats {', '.join(_LIBRARY_NORMS)}, not {name!r}; "
            "use one of robustdeq's own attacks"
        )
    return _LIBRARY_NORMS[name]


def class_count(search: Search) -> int:
    """How many classes the model behind a surface has; costs one forward pass of one image."""
    one = search.samples.images[:1]
    return search.surface.view(one, None, frozenset({"logits"})).logits.shape[1]


def import_extra(*modules: str) -> ModuleType:
    """The first of some modules of the extra `attacks` that is installed.

    Raises:
        SpecError: none is.
    """
    for module in modules:
        if importlib.util.find_spec(module):
            return importlib.import_module(module)
    raise SpecError(
        f"{' or '.join(modules)} is not installed; "
        'run: pip install "robustdeq[attacks]", or use one of robustdeq\'s own attacks'
    )


class _Listener(logging.Handler):
    def __init__(self, said: list[str]):
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


def _reset_counters() -> None:
    for name in ("pyautoattack.checks", "autoattack.checks"):
        if name in sys.modules:
            counters = sys.modules[name].funcs
            counters.update(dict.fromkeys(counters, 0))
