"""robustdeq: the adversarial-robustness benchmark for deep equilibrium models.

Five names serve a notebook; each is imported when it is first used, so that `import robustdeq`
costs nothing. The command line is `robustdeq --help`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from robustdeq.version import SEMANTICS as SEMANTICS
from robustdeq.version import __version__ as __version__

if TYPE_CHECKING:
    from robustdeq.notebook import attack as attack
    from robustdeq.notebook import compare as compare
    from robustdeq.notebook import evaluate as evaluate
    from robustdeq.notebook import leaderboard as leaderboard
    from robustdeq.notebook import load_model as load_model

_NOTEBOOK = ("attack", "compare", "evaluate", "leaderboard", "load_model")


def __getattr__(name: str) -> Any:
    if name in _NOTEBOOK:
        return getattr(import_module("robustdeq.notebook"), name)
    raise AttributeError(f"module 'robustdeq' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_NOTEBOOK]
