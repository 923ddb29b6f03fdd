"""Where a plug-in's class is at home, and what it is called by default."""

import importlib.metadata
import re
from functools import cache
from typing import Literal

LONE = "robustdeq_lone_files"  # the package, in name only, of lone files
Home = Literal["package", "file", "entry point", "nowhere"]

# (kind, name) of a shipped plug-in -> the stem of the file that holds it now. A name is for ever,
# since records bear it: whoever renames a file enters it here, and nothing is computed again.
RENAMED: dict[tuple[str, str], str] = {}


@cache
def home(cls: type, kind: str) -> Home:
    """What can be named, and imported by that name in another process, has a home."""
    if "<locals>" in cls.__qualname__:
        return "nowhere"
    if cls.__module__.startswith("robustdeq."):
        return "package"
    if cls.__module__.startswith(f"{LONE}."):
        return "file"
    entries = importlib.metadata.entry_points(group=f"robustdeq.{kind}")
    at_home = any(e.module == cls.__module__ and e.attr == cls.__qualname__ for e in entries)
    return "entry point" if at_home else "nowhere"


def default_name(cls: type, kind: str) -> str:
    """The file's stem with dashes, `random_states.py` is `random-states`; of a class that has no
    home its own name, `RandomStates` is `random-states`."""
    if home(cls, kind) == "nowhere":
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", cls.__name__)
        return words.replace("_", "-").strip("-").lower()
    stem = cls.__module__.rpartition(".")[2].replace("_", "-")
    first = (old for (its_kind, old), new in RENAMED.items() if (its_kind, new) == (kind, stem))
    return next(first, stem)
