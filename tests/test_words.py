"""What the code says of itself: figures stay where they are recomputed."""

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

import robustdeq

ROOT = Path(robustdeq.__file__).parent
FILES = sorted((ROOT / "defenses").glob("*.py"))
OTHERS = sorted(set(ROOT.rglob("*.py")) - set(FILES))
MEASURED = re.compile(r"\d\s?%|\bpoints (more|less)\b|\bMeasured\b|\bseeds (it )?keeps?\b|\bp =\s")
OUTCOME = re.compile(r"\d\.\d\s?%|\b\d+ of \d+ (images|rows|planted|digits)|\bof \d+ digits\b")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_docstring_of_a_defense_has_a_measured_figure(path):
    """Eight had; a board that was regenerated contradicted each of them."""
    assert [found[0] for text in docstrings(path) if (found := MEASURED.search(text))] == []


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_docstring_has_an_outcome(path):
    """Limits are round and stay; counts of images and tenths of a per cent are outcomes."""
    assert [found[0] for text in docstrings(path) if (found := OUTCOME.search(text))] == []


def docstrings(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef
    return [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]


def test_every_core_dependency_is_imported_by_the_package():
    """matplotlib and pandas were installed with it and imported by nothing."""
    root = Path(robustdeq.__file__).parent
    project = tomllib.loads((root.parent / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = {re.match(r"[\w-]+", each)[0] for each in project["project"]["dependencies"]}
    text = "\n".join(path.read_text(encoding="utf-8") for path in root.rglob("*.py"))
    modules = {name: {"pillow": "PIL"}.get(name, name) for name in wanted}
    unused = [n for n, m in modules.items() if not re.search(rf"(import|from) {m}\b", text)]
    assert unused == []


def test_every_mark_is_carried_by_a_test():
    root = Path(robustdeq.__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    marks = [each.partition(":")[0] for each in project["tool"]["pytest"]["ini_options"]["markers"]]
    text = "\n".join(path.read_text(encoding="utf-8") for path in (root / "tests").rglob("*.py"))
    assert [mark for mark in marks if f"pytest.mark.{mark}" not in text] == []


CALLED_ELSEWHERE = {"retract", "emit"}  # by whoever withdraws a record; by `logging`


def test_every_field_and_method_is_read_by_the_package_or_its_benchmarks():
    """Bounds of a paper served one test, and what papers report was shown to nobody."""
    own = [path for path in ROOT.rglob("*.py") if path.parent != ROOT / "testing"]
    files = [*ROOT.rglob("*.py"), *(ROOT.parent / "benchmarks").rglob("*.py")]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in files}
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    read = {n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)}
    read |= {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    classes = [n for path in own for n in ast.walk(trees[path]) if isinstance(n, ast.ClassDef)]
    unread = {
        f"{each.name}.{name}" for each in classes for name in members(each) if name not in read
    }
    assert {name for name in unread if name.rpartition(".")[2] not in CALLED_ELSEWHERE} <= {
        "Impostor.deceives"  # what a test of the zoo holds each of them to
    }


def members(node):
    """The fields and methods of a class, but for what Python itself calls."""
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            yield part.target.id
        elif isinstance(part, ast.FunctionDef) and not part.name.startswith("__"):
            yield part.name


def test_every_function_is_read_by_the_package_or_its_benchmarks():
    own = [path for path in ROOT.rglob("*.py") if ROOT / "testing" not in path.parents]
    files = [*ROOT.rglob("*.py"), *(ROOT.parent / "benchmarks").rglob("*.py")]
    words = Counter(
        word for path in files for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))
    )
    once = {
        f"{path.stem}.{node.name}"
        for path in own
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and words[node.name] == 1
        if not node.decorator_list and not node.name.startswith("__")
    }
    assert once == {"flower.simulate"}  # for users who have Flower


def test_one_spelling_of_defense():
    """As the API has it; only the name of a view in released protocols is spelled otherwise."""
    root = ROOT.parent
    files = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    files += [
        path for folder in ("robustdeq", "benchmarks") for path in (root / folder).rglob("*.py")
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    found = Counter(re.findall(r"[\w./-]*defence\w*", text, re.IGNORECASE))
    assert {
        word for word in found if not re.search(r"through[-_]?defence", word, re.IGNORECASE)
    } == set()
