import pickle
import sys

import pytest

from robustdeq.data.base import DataSource
from robustdeq.errors import ContractViolation, SpecError, UnknownName
from robustdeq.kinds import CONTRACTS, contract
from robustdeq.registry import find, load_file, names

SOURCE = """
from dataclasses import dataclass
from robustdeq.data.base import DataSource

@dataclass(frozen=True)
class {name}(DataSource):
    def load(self):
        raise NotImplementedError
"""


@pytest.fixture(autouse=True)
def forget_lone_files():
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("robustdeq_lone_files."):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def install(tmp_path, monkeypatch, write):
    """Put a distribution with one module and one entry point of the kind `data` on the path."""

    def install(module, text, entry_point):
        write(f"{module}.py", text)
        write(f"{module}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {module}\n")
        write(f"{module}-1.0.dist-info/entry_points.txt", f"[robustdeq.data]\n{entry_point}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, module, raising=False)

    yield install
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("kind", CONTRACTS)
def test_every_file_of_a_kind_is_found_under_its_own_name(kind):
    found = {name: find(kind, name) for name in names(kind)}
    assert found
    for name, plugin in found.items():
        assert issubclass(plugin, contract(kind))
        assert plugin.plugin_name() == name
        assert plugin.kind == kind


def test_a_file_without_a_plug_in_is_shared_code_and_no_name():
    for kind, name in (("data", "idx"), ("data", "base"), ("defenses", "base")):
        assert name not in names(kind)
        with pytest.raises(UnknownName):
            find(kind, name)


@pytest.mark.parametrize(
    ("kind", "name", "nearest"),
    [
        ("data", "minst", "unknown data 'minst'; did you mean 'mnist'"),
        ("data", "fashion_mnist", "did you mean 'fashion-mnist'"),
        ("solvers", "pickard", "unknown solver 'pickard'; did you mean 'picard'"),
        ("data", "zzzz", "unknown data 'zzzz'; known: cifar10, cifar10-jpeg, digits"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_one(kind, name, nearest):
    with pytest.raises(UnknownName, match=nearest):
        find(kind, name)


def test_an_unknown_kind_is_answered_with_the_nearest_one():
    with pytest.raises(
        UnknownName, match="unknown kind of plug-in 'atacks'; did you mean 'attacks'"
    ):
        names("atacks")


def test_finding_one_plug_in_does_not_import_its_neighbours(monkeypatch):
    monkeypatch.delitem(sys.modules, "robustdeq.data.cifar10_jpeg", raising=False)
    assert find("data", "digits").plugin_name() == "digits"
    assert "robustdeq.data.cifar10_jpeg" not in sys.modules


def test_a_lone_file_answers_to_its_stem(write):
    path = write("my_images.py", SOURCE.format(name="Anything"))
    assert load_file(path) == [("data", "my-images")]
    assert "my-images" in names("data")
    assert issubclass(find("data", "my-images"), DataSource)
    assert load_file(path) == [("data", "my-images")]


def test_a_lone_file_with_two_plug_ins_is_refused_and_forgotten(write):
    path = write("two.py", SOURCE.format(name="One") + SOURCE.format(name="Two"))
    with pytest.raises(ContractViolation, match="defines 2 plug-ins of data; expected one"):
        load_file(path)
    assert "two" not in names("data")


def test_a_lone_file_may_import_plug_ins_without_providing_them(write):
    text = "from robustdeq.data.mnist import MNIST\n" + SOURCE.format(name="Mine")
    assert load_file(write("mine.py", text)) == [("data", "mine")]


def test_a_lone_file_without_a_plug_in_is_refused(write):
    with pytest.raises(ContractViolation, match="defines plug-ins of 0 kinds; expected one class"):
        load_file(write("empty.py", "x = 1\n"))


def test_a_class_that_lacks_a_hook_is_told_which(write):
    text = SOURCE.format(name="Mine").replace("def load(", "def laod(")
    with pytest.raises(ContractViolation, match="0 kinds; Mine lacks `load`; expected one class"):
        load_file(write("mine.py", text))


def test_a_lone_file_cannot_hide_a_shipped_plug_in(write):
    with pytest.raises(SpecError, match="would hide the shipped 'digits' of data; rename"):
        load_file(write("digits.py", SOURCE.format(name="Digits")))


def test_a_lone_file_cannot_hide_another_one(write):
    first = write("a/mine.py", SOURCE.format(name="Mine"))
    second = write("b/mine.py", SOURCE.format(name="Mine"))
    load_file(first)
    with pytest.raises(SpecError, match=f"{second} would hide the plug-in {first}"):
        load_file(second)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("notes.txt", "", "is not a Python file"),
        ("2nd.py", "", "is no Python name"),
        ("broken.py", "x = 1\ndef (:\n", "broken.py, line 2: "),
    ],
)
def test_a_lone_file_that_is_not_python_is_refused(write, name, text, message):
    with pytest.raises(SpecError, match=message):
        load_file(write(name, text))


def test_a_missing_lone_file_is_refused(tmp_path):
    with pytest.raises(SpecError, match="is not a Python file"):
        load_file(tmp_path / "absent.py")


def test_an_error_in_a_lone_file_reaches_its_author_and_leaves_nothing_behind(write):
    path = write("raising.py", "\nraise ZeroDivisionError('mine')\n")
    expected = r"cannot be imported: ZeroDivisionError: mine \(.*raising.py, line 2\)"
    with pytest.raises(SpecError, match=expected) as raised:
        load_file(path)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert not [name for name in sys.modules if name.endswith(".raising")]


def test_an_entry_point_of_an_installed_distribution_is_a_plug_in(install):
    install("street_signs", SOURCE.format(name="Signs"), "street-signs = street_signs:Signs")
    assert "street-signs" in names("data")
    assert issubclass(find("data", "street-signs"), DataSource)


@pytest.mark.parametrize(
    "entry_point",
    ["other-name = street_signs:Signs", "street-signs = street_signs:dataclass"],
)
def test_an_entry_point_that_leads_elsewhere_is_refused(install, entry_point):
    install("street_signs", SOURCE.format(name="Signs"), entry_point)
    with pytest.raises(ContractViolation, match=r"the entry point .* of robustdeq.data is"):
        find("data", entry_point.partition(" ")[0])


def test_a_plug_in_that_needs_a_field_says_which():
    with pytest.raises(SpecError, match="'linf' alone does not say 'eps', which has no default"):
        contract("threats").from_text("linf")


def test_an_unknown_name_survives_the_way_home_from_a_worker():
    error = UnknownName("cell", "slw", ["slow", "stock"])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
