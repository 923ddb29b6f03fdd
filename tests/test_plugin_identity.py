"""A plug-in from elsewhere is what its files are, and one without a file what its code is."""

import importlib
import sys
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from commands import TINY, prepare, robustdeq

from robustdeq import homes, registry
from robustdeq.attacks.base import Attack
from robustdeq.audits.battery import own_audits
from robustdeq.defenses.base import Card, Defense, Task, Wrapper
from robustdeq.defenses.trades import Trades
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.engines import matrix
from robustdeq.entrant import Entrant
from robustdeq.errors import ContractViolation, SpecError
from robustdeq.registry import load_file
from robustdeq.results.store.result_store import ResultStore
from robustdeq.spec import canonical, decode, encode
from robustdeq.training.central import build
from robustdeq.training.trained import require_same

HEAD = """
from dataclasses import dataclass
from pathlib import Path
from robustdeq.defenses.base import Card, Wrapper
{imports}

@dataclass(frozen=True)
class Mine(Wrapper):
    stage = "{stage}"
    card = Card("Mine", "by hand")
    {fields}

    {body}
"""
TRANSFORM = "def transform(self, target, x, noise): return {}"
BUILD = "def build(self, task):\n        {}\n        return self.base.build(task)"


def source(body: str, stage: str = "inference", imports: str = "", fields: str = "") -> str:
    return HEAD.format(body=body, stage=stage, imports=imports, fields=fields)


@pytest.fixture(autouse=True)
def forget_imports():
    before, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name.startswith((homes.LONE, "helper")):
            del sys.modules[name]


def loaded(path, text: str | None = None, base: str = "vanilla", **fields) -> Entrant:
    """The entrant of a lone file, loaded as by a new process."""
    if text is not None:
        path.write_text(text)
    sys.modules.pop(f"{homes.LONE}.{path.stem}", None)
    load_file(path)
    return Entrant(decode(Defense, {"name": "mine", "base": base, **fields}))


class TestLoneFiles:
    def test_an_edited_file_is_another_plug_in_around_the_same_base(self, tmp_path):
        path = tmp_path / "mine.py"
        first = loaded(path, source(TRANSFORM.format("x * 0.5")))
        again = loaded(path)
        other = loaded(path, source(TRANSFORM.format("x")))
        assert first.id == again.id
        ids = {first.id, other.id}
        assert len(ids) == 2
        assert first.trained.id == other.trained.id
        assert "content" not in encode(first.trained)["defense"]

    def test_a_spec_of_other_content_is_refused_and_says_so(self, tmp_path):
        path = tmp_path / "mine.py"
        written = encode(loaded(path, source(TRANSFORM.format("x * 0.5"))))
        assert encode(decode(Entrant, written)) == written
        loaded(path, source(TRANSFORM.format("x")))
        with pytest.raises(SpecError, match=r"content .* of 'mine', but this is content .*changed"):
            decode(Entrant, written)

    def test_a_copy_elsewhere_is_the_same_plug_in(self, tmp_path):
        found = []
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "w.bin").write_bytes(b"1")
            text = source(TRANSFORM.format("x"), imports='DATA = Path(__file__).with_name("w.bin")')
            found.append(loaded(tmp_path / folder / "mine.py", text).id)
        assert found[0] == found[1]

    @pytest.mark.parametrize("when", ["at the top", "in a method", "dynamically"])
    def test_a_module_beside_it_counts_however_it_is_imported(self, tmp_path, when):
        sys.path.insert(0, str(tmp_path))
        (tmp_path / "helper_deep.py").write_text("FACTOR = 1\n")
        (tmp_path / "helper_near.py").write_text("from helper_deep import FACTOR\n")
        use = TRANSFORM.format("x * FACTOR")
        imports = {
            "at the top": "from helper_near import FACTOR",
            "in a method": "FACTOR = 1",
            "dynamically": "from importlib import import_module\n"
            'FACTOR = import_module("helper_near").FACTOR',
        }[when]
        if when == "in a method":
            use = TRANSFORM.format("x * __import__('os').sep.count('/') * self.k()")
            use += (
                "\n    def k(self):\n        import helper_near\n        return helper_near.FACTOR"
            )
        first = loaded(tmp_path / "mine.py", source(use, imports=imports))
        (tmp_path / "helper_deep.py").write_text("FACTOR = 2\n")
        second = loaded(tmp_path / "mine.py")
        assert first.id != second.id
        if when != "in a method":
            module = sys.modules[f"{homes.LONE}.mine"]
            assert module.FACTOR == 2

    def test_the_base_class_in_a_module_beside_it_counts(self, tmp_path):
        sys.path.insert(0, str(tmp_path))
        (tmp_path / "helper.py").write_text(source(TRANSFORM.format("x")).replace("Mine", "Base"))
        text = (
            "from dataclasses import dataclass\nimport helper\n\n"
            "@dataclass(frozen=True)\nclass Mine(helper.Base):\n    pass\n"
        )
        first = loaded(tmp_path / "mine.py", text)
        (tmp_path / "helper.py").write_text((tmp_path / "helper.py").read_text() + "\n# edited\n")
        assert loaded(tmp_path / "mine.py").id != first.id

    def test_the_version_of_a_shipped_parent_counts(self, tmp_path, monkeypatch):
        text = (
            "from dataclasses import dataclass\nfrom robustdeq.defenses.trades import Trades\n\n"
            "@dataclass(frozen=True)\nclass Mine(Trades):\n    pass\n"
        )
        first = loaded(tmp_path / "mine.py", text)
        before = first.id
        monkeypatch.setattr(Trades, "version", 7)
        monkeypatch.setattr(type(first.defense), "version", 1)
        assert first.id != before


class TestFilesThatAreRead:
    READS: ClassVar[dict[str, str]] = {
        "while imported, computed": 'W = Path(__file__).with_name("w" + "." + "bin").read_bytes()',
        "named beside it": 'W = Path(__file__).with_name("w.bin")',
        "named by slashes": 'W = Path(__file__).parent / "deep" / "w.bin"',
        "named by join": 'import os; W = os.path.join(os.path.dirname(__file__), "deep", "w.bin")',
        "by safetensors": "from safetensors.torch import load_file; "
        'W = str(Path(__file__).with_name("w.bin"))',
    }

    @pytest.mark.parametrize("how", READS)
    def test_a_file_that_the_source_reads_or_names_is_part_of_it(self, tmp_path, how):
        (tmp_path / "deep").mkdir()
        places = [tmp_path / "w.bin", tmp_path / "deep" / "w.bin"]
        for place in places:
            place.write_bytes(b"1")
        text = source(TRANSFORM.format("x"), imports=self.READS[how])
        first = loaded(tmp_path / "mine.py", text)
        assert loaded(tmp_path / "mine.py").id == first.id
        for place in places:
            place.write_bytes(b"2")
        assert loaded(tmp_path / "mine.py").id != first.id

    @pytest.mark.parametrize("field", ['"{}"', '("{}",)'])
    def test_a_file_that_a_field_names_is_part_of_it(self, tmp_path, field):
        weights = tmp_path / "w.bin"
        weights.write_bytes(b"1")
        kind = "tuple[str, ...]" if field.startswith("(") else "str"
        fields = f"weights: {kind} = {field.format('none')}"
        value = [str(weights)] if field.startswith("(") else str(weights)
        first = loaded(
            tmp_path / "mine.py", source(TRANSFORM.format("x"), fields=fields), weights=value
        )
        before = first.id
        weights.write_bytes(b"2")
        assert first.id != before

    def test_a_file_of_a_field_is_looked_for_beside_the_source_too(self, tmp_path):
        (tmp_path / "w.bin").write_bytes(b"1")
        text = source(TRANSFORM.format("x"), fields='weights: str = ""')
        entrant = loaded(tmp_path / "mine.py", text, weights="w.bin")
        before = entrant.id
        (tmp_path / "w.bin").write_bytes(b"2")
        assert entrant.id != before

    def test_a_file_that_it_declares_is_part_of_it_and_may_be_read(self, tmp_path):
        weights = tmp_path / "w.bin"
        weights.write_bytes(b"1")
        body = BUILD.format(f"Path({str(tmp_path)!r} + '/w' + '.bin').read_bytes()")
        body += f"\n    def files(self): return [{str(tmp_path)!r} + '/w' + '.bin']"
        first = loaded(tmp_path / "mine.py", source(body))
        before = first.id
        weights.write_bytes(b"2")
        assert first.id != before
        first.defense.build(TASK)
        weights.unlink()
        with pytest.raises(SpecError, match=r"cannot read .*w.bin, which a plug-in names"):
            assert first.id

    @pytest.mark.parametrize(
        "read",
        ["with open({}): pass", "Path({}).read_bytes()", "__import__('torch').load({})",
         "__import__('os').open({}, 0)", "__import__('numpy').fromfile({})"],
    )  # fmt: skip
    def test_any_other_file_is_refused_when_it_is_opened(self, tmp_path, read):
        (tmp_path / "w.bin").write_bytes(b"1")
        body = BUILD.format(read.format(f"{str(tmp_path)!r} + '/w' + '.bin'"))
        entrant = loaded(tmp_path / "mine.py", source(body))
        with pytest.raises(SpecError, match=r"mine.py opens .*w.bin, .*return its path from"):
            entrant.defense.build(TASK)

    def test_a_declared_file_may_be_read_before_anybody_asks_for_the_identity(self, tmp_path):
        (tmp_path / "w.bin").write_bytes(b"1")
        body = BUILD.format(f"Path({str(tmp_path)!r} + '/w' + '.bin').read_bytes()")
        body += f"\n    def files(self): return [{str(tmp_path)!r} + '/w' + '.bin']"
        build(loaded(tmp_path / "mine.py", source(body)), TASK)

    def test_what_is_written_and_what_libraries_open_is_nobodys_business(self, tmp_path):
        body = BUILD.format(f"open({str(tmp_path)!r} + '/new', 'w').close(); import colorsys")
        loaded(tmp_path / "mine.py", source(body)).defense.build(TASK)
        assert (tmp_path / "new").exists()

    SILENT: ClassVar[dict[str, str]] = {
        "safetensors": "from safetensors import safe_open",
        "sqlite3": "import sqlite3",
        "torch.jit.load": "import torch\ndef read(): return torch.jit.load(W + '.pt')",
        "torch.jit.load, short": "from torch import jit\ndef read(): return jit.load(W + '.pt')",
        "torch.jit.load, alone": "from torch.jit import load",
        "torch.from_file": "import torch\ndef read(): return torch.from_file(W, size=1)",
    }

    @pytest.mark.parametrize("reader", SILENT)
    def test_what_opens_files_in_silence_asks_for_a_declaration(self, tmp_path, reader):
        text = source(TRANSFORM.format("x"), imports=self.SILENT[reader])
        entrant = loaded(tmp_path / "mine.py", text)
        name = reader.partition(",")[0]
        with pytest.raises(SpecError, match=rf"uses {name}, .*return them from a method"):
            assert entrant.id
        declared = text + "\n    def files(self): return ()\n"
        assert loaded(tmp_path / "mine.py", declared).id

    def test_a_data_source_may_read_what_it_likes(self, tmp_path):
        (tmp_path / "w.bin").write_bytes(b"1")
        (tmp_path / "pictures.py").write_text(
            "from dataclasses import dataclass\nfrom pathlib import Path\n"
            "from robustdeq.data.base import DataSource\n\n"
            "@dataclass(frozen=True)\nclass Pictures(DataSource):\n"
            f"    def load(self): return Path({str(tmp_path)!r} + '/w' + '.bin').read_text()\n"
        )
        load_file(tmp_path / "pictures.py")
        assert registry.find("data", "pictures")().load() == "1"


class TestOtherDistributions:
    @pytest.fixture
    def install(self, tmp_path, monkeypatch):
        """A distribution in a folder of libraries, with the plug-in in a package of its own."""
        site = tmp_path / "site-packages"
        (site / "helper_dist" / "inner").mkdir(parents=True)
        (site / "helper_dist-1.0.dist-info").mkdir()
        (site / "helper_dist-1.0.dist-info/METADATA").write_text("Name: helper_dist\nVersion: 1\n")
        entry = "[robustdeq.defenses]\nmine = helper_dist.inner.mine:Mine\n"
        (site / "helper_dist-1.0.dist-info/entry_points.txt").write_text(entry)
        for name in ("__init__", "inner/__init__", "numbers"):
            (site / "helper_dist" / f"{name}.py").write_text("FACTOR = 1\n")
        monkeypatch.syspath_prepend(site)

        def install(body: str) -> Entrant:
            text = source(body, imports="from ..numbers import FACTOR")
            (site / "helper_dist/inner/mine.py").write_text(text)
            for name in [name for name in sys.modules if name.startswith("helper_dist")]:
                del sys.modules[name]
            importlib.invalidate_caches()
            return Entrant(decode(Defense, "mine/vanilla"))

        return install

    def test_its_own_modules_count_and_no_other_library_s(self, install, tmp_path):
        site = tmp_path / "site-packages"
        first = install(TRANSFORM.format("x * FACTOR"))
        assert install(TRANSFORM.format("x * FACTOR")).id == first.id
        (site / "helper_dist/numbers.py").write_text("FACTOR = 22\n")
        second = install(TRANSFORM.format("x * FACTOR"))
        assert first.id != second.id
        assert install(TRANSFORM.format("x")).id != second.id

    def test_its_data_count_where_the_source_names_them_and_are_refused_elsewhere(
        self, install, tmp_path
    ):
        weights = tmp_path / "site-packages/helper_dist/w.bin"
        weights.write_bytes(b"1")
        named = BUILD.format("Path(__file__).parents[1].joinpath('w.bin').read_bytes()")
        hidden = named.replace("'w.bin'", "'w' + '.bin'")
        with pytest.raises(SpecError, match=r"mine.py opens .*w.bin"):
            install(hidden).defense.build(TASK)
        declared = "\n    def files(self): return [Path(__file__).parents[1] / 'w.bin']"
        first = install(named + declared).id
        weights.write_bytes(b"2")
        second = install(named + declared)
        assert second.id != first
        second.defense.build(TASK)


class TestWithoutAFile:
    def test_two_classes_of_one_script_are_two(self):
        assert Blur.plugin_name() == "blur"
        assert Entrant(Blur(Vanilla())).id != Entrant(Sharpen(Vanilla())).id
        assert Blur(Sharpen(Vanilla())).chain == "blur/sharpen/vanilla"
        with pytest.raises(SpecError, match="wraps 'blur' around itself"):
            Blur(Sharpen(Blur(Vanilla())))

    def test_a_class_of_a_shipped_one_s_name_is_not_that(self):
        @dataclass(frozen=True)
        class Vanilla(Wrapper):
            card = Card("mine", "by hand")

        mine = encode(Vanilla(Trades(Defense.from_text("vanilla"))))
        assert mine["name"] == "vanilla"
        with pytest.raises(SpecError, match="but this is a shipped plug-in"):
            decode(Defense, {key: value for key, value in mine.items() if key != "base"})

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"factor": 1}, {"factor": 2}),
            ({"default": 1}, {"default": 2}),
            ({"array": torch.zeros(3)}, {"array": torch.ones(3)}),
            ({"array": torch.zeros(3).numpy()}, {"array": torch.ones(3).numpy()}),
            ({"array": torch.nn.Linear(2, 2)}, {"array": torch.nn.Linear(2, 2)}),
            ({"call": lambda x: x}, {"call": lambda x: x + 1}),
            ({"call": lambda x, k=1: x * k}, {"call": lambda x, k=2: x * k}),
            ({"attribute": 1}, {"attribute": 2}),
        ],
    )  # fmt: skip
    def test_what_its_code_can_reach_counts(self, one, other):
        first, same, second = made(**one), made(**one), made(**other)
        assert encode(first) == encode(same)
        assert encode(first) != encode(second)

    def test_a_global_that_its_code_reads_counts(self, monkeypatch):
        before = encode(Sharpen(Vanilla()))
        monkeypatch.setitem(globals(), "STRENGTH", 3.0)
        assert encode(Sharpen(Vanilla())) != before

    def test_a_file_that_it_names_counts(self, tmp_path):
        weights = tmp_path / "w.bin"
        weights.write_bytes(b"1")
        mine = made(factor=str(weights))
        before = encode(mine)
        weights.write_bytes(b"2")
        assert encode(mine) != before

    @pytest.mark.parametrize("name", ["__main__", None])
    def test_a_cell_run_again_with_another_body_is_another_class(self, name):
        found = []
        for body in ("x", "x * 0.5", "x"):
            cell = {} if name is None else {"__name__": name}
            exec(source(TRANSFORM.format(body)), cell)
            found.append(canonical(encode(cell["Mine"](Vanilla()))))
        assert found[0] == found[2] != found[1]

    def test_what_cannot_be_told_is_refused_in_a_sentence(self):
        with pytest.raises(SpecError, match=r"has no file of its own, .*put it into a Python file"):
            encode(made(call=(x for x in ())))

    def test_an_edited_audit_is_another_column_of_audits(self, tmp_path):
        assert own_audits() == ()
        text = (
            "from dataclasses import dataclass\nfrom robustdeq.audits.base import Audit\n\n"
            "@dataclass(frozen=True)\nclass Mine(Audit):\n"
            "    def examine(self, case):\n        return []\n"
        )
        found = []
        for edition in (text, text + "# edited\n"):
            (tmp_path / "own_audit.py").write_text(edition)
            load_file(tmp_path / "own_audit.py")
            found.append(own_audits())
        assert len(set(found)) == 2
        assert all(name.startswith("own-audit ") for (name,) in found)

    def test_every_kind_is_told_apart_so(self):
        found = []
        for steps in (1, 2):

            @dataclass(frozen=True)
            class Own(Attack):
                def run(self, search, k=steps):
                    pass

            found.append(encode(Own())["content"])
        assert found[0] != found[1]


class TestNames:
    def test_a_stated_name_that_is_not_the_file_s_is_refused(self, tmp_path):
        right = source(TRANSFORM.format("x"), fields='name = "mine"')
        assert loaded(tmp_path / "mine.py", right).chain == "mine/vanilla"
        with pytest.raises(ContractViolation, match=r"mine.py states the name 'other', .*'mine'"):
            loaded(tmp_path / "mine.py", right.replace('"mine"', '"other"'))

    def test_a_stated_name_is_not_inherited(self):
        @dataclass(frozen=True)
        class First(Wrapper):
            name = "one"

        @dataclass(frozen=True)
        class Second(First):
            pass

        assert (First.plugin_name(), Second.plugin_name()) == ("one", "second")

    @pytest.mark.parametrize("field", ["name", "version", "content"])
    def test_a_field_under_the_name_of_what_a_spec_says_is_refused(self, field):
        cell = {"__name__": "__main__"}
        exec(source(TRANSFORM.format("x"), fields=f"{field}: int = 3"), cell)
        with pytest.raises(SpecError, match=f"has a field '{field}'"):
            encode(cell["Mine"](Vanilla()))

    def test_a_renamed_file_orphans_no_record(self, monkeypatch):
        before = Entrant(Trades(Vanilla()))
        written, name = encode(before), before.id
        monkeypatch.setitem(homes.RENAMED, ("defenses", "old-trades"), "trades")
        old = {"defense": {**written["defense"], "name": "old-trades"}}
        found = decode(Entrant, old)
        assert type(found.defense) is Trades
        assert encode(found) == old
        assert found.id != name  # what is renamed keeps the name that its records bear
        assert registry.find("defenses", "trades") is Trades


def test_a_file_that_changes_while_a_command_runs_stops_its_jobs():
    with pytest.raises(SpecError, match=r"mine/vanilla: a plug-in's source, .*while this command"):
        require_same("mine/vanilla", "a" * 16, "b" * 16)


class TestRuns:
    def go(self, folder, *arguments):
        return robustdeq(
            "run", folder / "tiny.toml", "--plugin", folder / "mine.py", "--entrant",
            folder / "entrants.toml", "--results", folder / "runs", "--workers", 1, "--quiet",
            *arguments,
        )  # fmt: skip

    @pytest.fixture
    def folder(self, tmp_path):
        defense = '{ name = "mine", base = "explicit" }'
        entrants = f"[[entrants]]\ndefense = {defense}\nrecipe = {{ epochs = 1 }}\n"
        return prepare(tmp_path, TINY, entrants)

    def test_an_edited_denoiser_is_attacked_anew_on_the_same_network(self, folder):
        (folder / "mine.py").write_text(source(TRANSFORM.format("x.round()")))
        assert self.go(folder).code == 0
        (folder / "mine.py").write_text(source(TRANSFORM.format("x")))
        answer = self.go(folder)
        assert answer.code == 0
        assert "mine/explicit seed 0: mine or a file that it reads has changed" in answer.err
        assert "attacked anew; its network is kept" in answer.err
        assert len(list((folder / "runs/checkpoints").iterdir())) == 1
        assert len(ResultStore(folder / "runs").scan()) == 4
        assert answer.out.count("mine/explicit [content=") >= 2

    def test_an_edited_objective_is_trained_anew_even_with_again(self, folder):
        craft = "def craft(self, target, batch, noise, memory): return batch.x{}"
        (folder / "mine.py").write_text(source(craft.format(""), stage="training"))
        assert self.go(folder).code == 0
        (folder / "mine.py").write_text(source(craft.format(" * 0.5"), stage="training"))
        answer = self.go(folder, "--again")
        assert answer.code == 0
        assert "has changed" in answer.err
        assert "trained and attacked anew" in answer.err
        assert len(list((folder / "runs/checkpoints").iterdir())) == 2
        checkpoints = {record.checkpoint for record in ResultStore(folder / "runs").scan()}
        assert len(checkpoints) == 2

    def test_a_file_that_is_opened_unknown_fails_the_training_in_a_sentence(self, folder):
        (folder / "w.bin").write_bytes(b"1")
        body = BUILD.format(f"Path({str(folder)!r} + '/w' + '.bin').read_text()")
        (folder / "mine.py").write_text(source(body, stage="training"))
        answer = self.go(folder)
        assert answer.code == 3
        assert "whose content is no part of the plug-in's identity" in answer.err
        assert "Traceback" not in answer.err

    def with_weights(self, folder, hook):
        """An entrant whose field names a file."""
        (folder / "w.bin").write_bytes(b"1")
        (folder / "mine.py").write_text(source(hook, fields='weights: str = ""'))
        weights = '{ name = "mine", weights = "w.bin", base = "explicit" }'
        roster = f"[[entrants]]\ndefense = {weights}\nrecipe = {{ epochs = 1 }}\n"
        (folder / "entrants.toml").write_text(roster)

    def test_a_file_that_is_edited_amid_the_training_fails_it_in_a_sentence(self, folder):
        """It was entered under the new file's name, and looked up under the old one's."""
        edit = "Path(__file__).with_name('w.bin').write_bytes(b'2')"
        self.with_weights(folder, f"def calibrate(self, target, batch, noise): {edit}; return {{}}")
        answer = self.go(folder)
        assert answer.code == 3
        assert "has changed while this command runs; run the same command again" in answer.err
        assert "Traceback" not in answer.err
        entered = [path.parent.name for path in folder.glob("runs/entrants/*/entrant.json")]
        assert len(entered) == 1  # the network below it
        assert self.go(folder).code == 0

    def test_a_file_that_is_edited_between_training_and_attack_is_told(self, folder, monkeypatch):
        """It was a KeyError."""
        self.with_weights(folder, TRANSFORM.format("x"))
        run_jobs = matrix.run_jobs

        def edited(jobs, where, done):
            def then(outcome):
                (folder / "w.bin").write_bytes(b"2")
                return done(outcome)

            return run_jobs(jobs, where, then)

        monkeypatch.setattr(matrix, "run_jobs", edited)
        answer = self.go(folder)
        assert answer.code == 3
        assert "has changed while this command runs; run the same command again" in answer.err
        assert "Traceback" not in answer.err
        assert self.go(folder).code == 0

    def test_an_edited_attack_is_another_protocol_and_says_what_changed(self, folder):
        text = (
            "from dataclasses import dataclass\nfrom robustdeq.attacks.base import Attack\n\n"
            "@dataclass(frozen=True)\nclass Mine(Attack):\n"
            "    def run(self, search):\n        search.put_forward(search.samples.images)\n"
        )
        (folder / "mine.py").write_text(text)
        protocol = TINY.replace('{ name = "pgd", steps = 2 }', '"mine"')
        (folder / "tiny.toml").write_text(protocol)
        (folder / "entrants.toml").write_text(
            '[[entrants]]\ndefense = "explicit"\nrecipe = { epochs = 1 }\n'
        )
        assert self.go(folder).code == 0
        (folder / "mine.py").write_text(text + "# edited\n")
        answer = self.go(folder)
        assert answer.refuses("holds another protocol 'tiny'", "attack.content")


TASK = Task((1, 8, 8), 10)
STRENGTH = 2.0


@dataclass(frozen=True)
class Blur(Wrapper):
    card: ClassVar[Card] = Card("Blur", "by hand")

    def transform(self, target, x, noise):
        return torch.nn.functional.avg_pool2d(x, 3, 1, 1)


@dataclass(frozen=True)
class Sharpen(Wrapper):
    card: ClassVar[Card] = Card("Sharpen", "by hand")

    def transform(self, target, x, noise):
        return x * STRENGTH


def made(factor=0, default=0, array=None, call=None, attribute=0) -> Wrapper:
    """A class that is made anew with each call, around the stock network."""

    @dataclass(frozen=True)
    class Made(Wrapper):
        card: ClassVar[Card] = Card("Made", "by hand")
        shade: ClassVar[int] = attribute
        field: int = default

        def transform(self, target, x, noise):
            return x, factor, array, call

    return Made(Vanilla())
