"""Importing somebody else's code: what goes wrong there is told in a sentence."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from robustdeq.errors import PluginEnded, RobustDEQError, SpecError, by_user, ended


@contextmanager
def outliving() -> Iterator[None]:
    """Turn `os._exit`, by which a process ends without a word, into an exit that can be told.

    Other ways, through ctypes or `exec`, cannot be closed inside the process.
    """
    homes = [os, *(sys.modules[name] for name in ("posix", "nt") if name in sys.modules)]
    before = [vars(home)["_exit"] for home in homes]
    try:
        for home in homes:
            vars(home)["_exit"] = sys.exit
        yield
    finally:
        for home, own in zip(homes, before, strict=True):
            vars(home)["_exit"] = own


@contextmanager
def importing(plugin: str) -> Iterator[None]:
    """Tell in a sentence why somebody's plug-in cannot be imported."""
    try:
        with outliving():
            yield
    except SyntaxError as error:
        raise SpecError(f"{plugin}, line {error.lineno}: {error.msg}") from error
    except RobustDEQError:
        raise
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[-1]
        raise SpecError(
            f"plug-in {plugin} cannot be imported: {type(error).__name__}: {error} "
            f"({line.filename}, line {line.lineno})"
        ) from error
    except BaseException as error:
        if by_user(error):
            raise
        raise PluginEnded(f"plug-in {plugin} cannot be imported: {ended(error)}") from error
