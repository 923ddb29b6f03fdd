"""How the code is built, measured: its nouns are used, and nothing in it is too large to read."""

import ast
from pathlib import Path

import pytest

import robustdeq

ROOT = Path(robustdeq.__file__).parent
TREES = {
    path.relative_to(ROOT.parent).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for folder in (ROOT, ROOT.parent / "benchmarks")
    for path in sorted(folder.rglob("*.py"))
}
LINES, STATEMENTS = 250, 40
SIDE_BY_SIDE = ({"x", "images"}, {"y", "labels"}, {"rows", "positions"})


def nodes(kind, *, within="", outside="nowhere"):
    """(place, node) of every node of a kind, in files whose path begins so and not so."""
    for path, tree in TREES.items():
        if path.startswith(within) and not path.startswith(outside):
            for node in ast.walk(tree):
                if isinstance(node, kind):
                    yield f"{path}:{getattr(node, 'lineno', 0)}", node


def names(node):
    """The names, attributes and texts in a node."""
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            yield each.id
        elif isinstance(each, ast.Attribute):
            yield each.attr
        elif isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def test_samples_travel_as_one_value():
    """47 functions took images, labels and positions side by side."""
    found = [
        place
        for place, node in nodes(ast.FunctionDef, within="robustdeq/")
        if all(kind & {each.arg for each in parameters(node)} for kind in SIDE_BY_SIDE)
    ]
    assert found == []


def parameters(function):
    arguments = function.args
    return (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)


def test_no_goal_is_compared_outside_of_goals():
    """A goal was a text, compared at sixteen places; each goal answers for itself now."""
    found = [
        place
        for place, node in nodes(ast.Compare, outside="robustdeq/goals/")
        if any(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops)
        and "goal" in {name for side in (node.left, *node.comparators) for name in names(side)}
    ]
    assert found == []


def test_no_class_of_network_is_asked_for_outside_of_models():
    """Whoever fulfils `EquilibriumNetwork` is a peer."""
    found = [
        place
        for place, node in nodes(ast.Call, within="robustdeq/", outside="robustdeq/models/")
        if "isinstance" in names(node.func) and "DEQClassifier" in names(node)
    ]
    assert found == []


def test_what_a_defense_does_is_read_off_its_hooks_in_one_place():
    """Fourteen places guessed it; it is declared, and where it is not, asked of one function."""
    hooks = {"transform", "infer", "relaxed", "unrolled"}
    found = [
        place
        for place, node in nodes(ast.Call, within="robustdeq/")
        if "getattr" in names(node.func) and hooks & set(names(node))
    ]
    assert found == []
    tables = [
        place.partition(":")[0]
        for place, node in nodes(ast.Dict, within="robustdeq/")
        if hooks <= {key.value for key in node.keys if isinstance(key, ast.Constant)}
    ]
    assert tables == ["robustdeq/defenses/inference.py"]


@pytest.mark.parametrize("path", TREES)
def test_no_file_is_too_long(path):
    assert len((ROOT.parent / path).read_text(encoding="utf-8").splitlines()) <= LINES


def test_no_function_is_too_long():
    found = [
        f"{place} {node.name}: {length}"
        for place, node in nodes(ast.FunctionDef | ast.AsyncFunctionDef)
        if (length := code_lines(node)) > STATEMENTS
    ]
    assert found == []


def code_lines(function):
    """Its lines without decorators and docstring."""
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    hidden = first.end_lineno - first.lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - hidden
