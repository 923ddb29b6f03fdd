"""What a Python source names without being run: the modules that it imports, and files."""

import ast
import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.machinery import PathFinder
from pathlib import Path

from robustdeq.errors import SpecError

_SCHEMES = ("stdlib", "platstdlib")
_LIBRARIES = ("site-packages", "dist-packages")  # of whichever environment is on the path
_SYSTEM = ("/proc", "/sys", "/dev")
_COMPILED = ("torchinductor_", ".triton")  # folders where torch keeps what it has compiled


def file_digest(path: Path) -> str:
    """The SHA-256 (hex) of a file as it is now.

    Raises:
        SpecError: it cannot be read.
    """
    try:
        told = path.stat()
        return _digest(path, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns)
    except OSError as error:
        raise SpecError(f"cannot read {path}, which a plug-in names: {error.strerror}") from None


def is_file(path: Path) -> bool:
    """Whether a text taken for a path is that of a file."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a zero byte: no path at all
        return False


def looks_like_path(text: str) -> bool:
    """Whether a text could be meant as one: it has an ending, or names a folder."""
    path = Path(text)
    return bool(path.suffix) or len(path.parts) > 1


def is_local(path: Path) -> bool:
    """Whether a file is somebody's own: of neither Python, a library nor this package."""
    theirs = any(part in _LIBRARIES or part.startswith(_COMPILED) for part in path.parts)
    return not theirs and not any(path.is_relative_to(folder) for folder in _foreign())


def belongs_to(path: Path, module: str, source: Path) -> bool:
    """Whether a file is local, or of the package of a module, or data beside one without a package.

    An installed distribution's own files are so told from those of other libraries.
    """
    depth = module.count(".") - (source.name != "__init__.py")
    if depth >= 0:
        return is_local(path) or path.is_relative_to(source.parents[depth])
    return is_local(path) or (path.parent == source.parent and path.suffix not in (".py", ".pyc"))


def named_files(path: Path, module: str) -> tuple[dict[Path, str], set[str]]:
    """The digests of all files that a source names, directly or by what it imports.

    Args:
        path: of the source, which is among them.
        module: its full name.

    Returns:
        The digests by path of those that belong to it, and the names of other imported packages
        and of the functions in them that are called by their full names.
    """
    found, others, waiting = {path: file_digest(path)}, set[str](), [(path, module)]
    while waiting:
        file, its_name = waiting.pop()
        tree = ast.parse(file.read_bytes())
        for name in _imports(tree, its_name, file):
            source = _module_file(name, file.parent)
            if source is None or not belongs_to(source, module, path):
                others.add(name.partition(".")[0])
            elif source not in found:
                found[source] = file_digest(source)
                waiting += [(source, name)] if source.suffix == ".py" else []
        others |= _calls(tree)
        for named in _strings_that_are_files(tree, file.parent):
            if belongs_to(named, module, path):
                found.setdefault(named, file_digest(named))
    return found, others


@lru_cache(maxsize=256)
def _digest(path: Path, *stamp: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _foreign() -> tuple[Path, ...]:
    libraries = (sysconfig.get_path(scheme) for scheme in _SCHEMES)
    own = Path(__file__).parent
    return tuple(Path(folder).resolve() for folder in (*libraries, own, *_SYSTEM))


def _calls(tree: ast.Module) -> set[str]:
    """The full names of the functions that a source calls or imports, as far as it writes them."""
    nodes = list(ast.walk(tree))
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    imported = {
        f"{node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    # `from torch import jit` writes "jit.load".
    short = {f"torch.{name}" for name in called if name.startswith(("jit.", "from_file"))}
    return called | imported | short


def _imports(tree: ast.AST, module: str, file: Path) -> Iterator[str]:
    """The modules that a source may import, wherever in it."""
    names = [*module.split("."), *(["__init__"] if file.name == "__init__.py" else [])]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = names[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _module_file(name: str, beside: Path) -> Path | None:
    """The file of a module, imported or not; nothing is imported here."""
    if (loaded := sys.modules.get(name)) is not None:
        file = vars(loaded).get("__file__")
        return Path(file).resolve() if file else None
    search: list[str] | None = [*sys.path, str(beside)]
    spec = None
    for part in name.split("."):
        spec = PathFinder.find_spec(part, search) if search else None
        search = list(spec.submodule_search_locations or ()) if spec else None
    return Path(spec.origin).resolve() if spec and spec.has_location and spec.origin else None


def _strings_that_are_files(tree: ast.AST, folder: Path) -> Iterator[Path]:
    """The files that strings name, from the source's folder or from the present one.

    A bare word names none, since a file of that name may come and go by chance. Strings that make
    one path, by `/` or as the arguments of one call, are tried together, too.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            text = os.path.join("", *(s for argument in node.args for s in _strings(argument)))
        elif isinstance(node, ast.Constant | ast.BinOp):
            text = os.path.join("", *_strings(node))
        else:
            continue
        for path in (folder / text, Path(text)):
            if looks_like_path(text) and is_file(path):
                yield path.resolve()


def _strings(node: ast.AST) -> list[str]:
    """The string constants in an expression, from left to right."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    return [text for child in ast.iter_child_nodes(node) for text in _strings(child)]
