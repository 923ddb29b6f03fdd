"""The import law: downward only, no cycles, and no torch where a reader only wants a board."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import robustdeq

ROOT = Path(robustdeq.__file__).parent

# package -> what lies directly below it; it may import that and everything below that
BELOW = {
    "errors": (),
    "version": (),
    "noise": (),
    "precision": (),
    "samples": ("errors",),
    "answers": (),
    "gradients": ("errors",),
    "surroundings": ("precision",),
    "importing": ("errors",),
    "source_files": ("errors",),
    "plugin_files": ("source_files", "homes"),
    "definition": ("source_files",),
    "hints": (),
    "progress": (),
    "homes": (),
    "untouched": ("errors",),
    "kinds": ("errors", "homes"),
    "registry": ("importing", "plugin_files", "kinds", "untouched"),
    "aims": ("registry",),
    "content": ("registry", "definition"),
    "scalars": ("errors",),
    "spec": ("content", "scalars"),
    "objectives": ("spec", "noise", "samples", "answers", "gradients", "surroundings"),
    "equilibrium": ("objectives",),
    "solvers": ("equilibrium",),
    "adjoints": ("solvers",),
    "threats": ("objectives",),
    "surface": ("threats",),
    "data": ("objectives",),
    "models": ("adjoints", "surface"),
    "attacks": ("surface",),
    "surfaces": ("models",),
    "defenses": ("attacks", "surfaces"),
    "entrant": ("defenses",),
    "surrogates": ("defenses",),
    "results": ("spec", "aims", "hints"),
    "training": ("entrant", "data", "results", "precision", "progress"),
    "evaluation": ("surrogates", "entrant", "data", "results", "version", "precision", "progress"),
    "audits": ("evaluation",),
    "engines": ("workbench",),
    "testing": ("evaluation", "training"),
    "goals": ("audits",),
    "workbench": ("goals", "training"),
    "notebook": ("workbench",),
    "cli": ("engines", "testing"),
}
# Doors for those outside: they may open anything, and nothing inside goes through them.
ENTRIES = {"robustdeq", "robustdeq.__main__"}


def module_name(path):
    parts = ("robustdeq", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in ROOT.rglob("*.py")}


def imports(path):
    """The modules of this package that a file imports, also inside its functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import; write it in full"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name for name in inner if name in MODULES]
            yield from found
            if len(found) < len(inner) and node.module in MODULES:
                yield node.module


def layer(module):
    return module.split(".")[1]


def allowed(package):
    """Everything below a package, and itself."""
    return {package}.union(*(allowed(lower) for lower in BELOW[package]))


def test_every_package_has_its_place():
    layers = {layer(name) for name in MODULES if name not in ENTRIES} - {"protocols"}
    assert layers <= set(BELOW), "a new package: say in BELOW what lies below it"


@pytest.mark.parametrize("package", BELOW)
def test_a_package_imports_only_what_lies_below_it(package):
    upward = [
        f"{name} imports {used}"
        for name, path in MODULES.items()
        if name not in ENTRIES and layer(name) == package
        for used in imports(path)
        if used in ENTRIES or layer(used) not in allowed(package)
    ]
    assert upward == []


def test_the_law_itself_says_what_the_design_promises():
    assert "models" not in allowed("attacks")
    assert "surrogates" not in allowed("defenses")
    assert "training" not in allowed("evaluation")
    assert allowed("results") == {"results", "aims", "hints"} | allowed("spec")
    assert not {"models", "defenses", "attacks"} & allowed("spec")


def test_no_modules_import_each_other_in_a_circle():
    graph = {
        name: {used for used in imports(path) if used not in ENTRIES}
        for name, path in MODULES.items()
        if name not in ENTRIES
    }
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


def test_only_training_switches_a_network_to_training_mode():
    switches = [
        f"{name}, line {node.lineno}"
        for name, path in MODULES.items()
        if not name.startswith("robustdeq.training")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "train"
        and not node.args
    ]
    assert switches == []


RESULTS = "; import ".join(sorted(name for name in MODULES if ".results" in name))
HELP = """
import contextlib, io, runpy
sys.argv = ["robustdeq", "--help"]
with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
    runpy.run_module("robustdeq", run_name="__main__")
assert "leaderboard" in text.getvalue()
"""


@pytest.mark.parametrize(
    "code",
    ["import robustdeq", f"import {RESULTS}", "import robustdeq.cli", HELP],
    ids=["robustdeq", "results", "cli", "help"],
)
def test_reading_results_and_help_does_not_load_torch(code):
    script = f"import sys\n{code}\nsys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name", sorted(n for n in MODULES if not n.startswith("robustdeq.models."))
)
def test_outside_models_a_network_is_asked_for_the_contract_and_not_for_its_class(name):
    """So that an equilibrium network of another package is a peer."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            assert "DEQClassifier" not in ast.unparse(node.args[1]), f"{name}, line {node.lineno}"
