import dataclasses
import itertools
import json
import tomllib
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import pytest

from robustdeq.data.base import DataSource
from robustdeq.data.mnist import MNIST
from robustdeq.defenses.base import Defense
from robustdeq.defenses.vanilla import Vanilla
from robustdeq.errors import SpecError, UnknownName
from robustdeq.kinds import CONTRACTS, contract
from robustdeq.registry import find, names
from robustdeq.spec import canonical, decode, digest, encode
from robustdeq.threats.base import ThreatModel
from robustdeq.threats.linf import Linf

# what a plug-in whose fields have no default is given, so that it takes part in the laws
GIVEN = {"eps": Fraction(3, 16), "base": Vanilla(), "root": "images", "held_out": 10}


def example(kind, name):
    """A plug-in with default fields, or None if a field has none and is not in GIVEN."""
    plugin = find(kind, name)
    needed = [
        field.name
        for field in dataclasses.fields(plugin)
        if field.init and field.default is field.default_factory is dataclasses.MISSING
    ]
    if set(needed) <= set(GIVEN):
        return plugin(**{name: GIVEN[name] for name in needed})
    return None


PLUGINS = {
    f"{kind}/{name}": (kind, value)
    for kind, name in itertools.chain.from_iterable(
        ((kind, name) for name in names(kind)) for kind in CONTRACTS
    )
    if (value := example(kind, name)) is not None
}


@dataclass(frozen=True)
class Inner:
    size: int
    rate: float = 0.5


@dataclass(frozen=True)
class Outer:
    inner: Inner
    mode: Literal["exact", "fast"] = "exact"
    radii: tuple[Fraction, ...] = ()
    pair: tuple[int, str] = (0, "a")
    note: str | None = None
    on: bool = True
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    data: DataSource | None = None


FULL = Outer(
    Inner(3, rate=0.1),
    mode="fast",
    radii=(Fraction(8, 255), Fraction(1)),
    pair=(7, "b"),
    note="text",
    on=False,
    weights={"a": 1.5},
    data=MNIST(root="elsewhere"),
)


@pytest.mark.parametrize(("kind", "plugin"), PLUGINS.values(), ids=PLUGINS)
def test_every_plug_in_comes_back_from_its_plain_data(kind, plugin):
    plain = encode(plugin)
    again = decode(contract(kind), json.loads(json.dumps(plain)))
    assert again == plugin
    assert encode(again) == plain
    assert digest(again) == digest(plugin)


def test_every_kind_takes_part_in_the_round_trip():
    assert {kind for kind, _ in PLUGINS.values()} == set(CONTRACTS)


@pytest.mark.parametrize("value", [FULL, Outer(Inner(1)), Inner(2)])
def test_a_value_comes_back_from_its_plain_data(value):
    assert decode(type(value), json.loads(json.dumps(encode(value)))) == value


def test_what_equals_its_default_is_left_out():
    assert encode(Outer(Inner(1))) == {"inner": {"size": 1}}
    assert encode(MNIST()) == {"name": "mnist", "version": 1}


def test_a_new_field_with_a_default_changes_no_digest():
    @dataclass(frozen=True)
    class Later(Inner):
        added: int = 0

    assert digest(Later(3)) == digest(Inner(3))
    assert digest(Later(3, added=1)) != digest(Inner(3))


def test_fractions_stay_fractions():
    assert encode(Linf(eps=Fraction(8, 255)))["eps"] == "8/255"
    assert decode(ThreatModel, {"name": "linf", "eps": "16/510"}) == Linf(eps=Fraction(8, 255))


def test_the_digest_is_that_of_the_canonical_json_and_never_changes():
    assert canonical({"b": [1, "ä"], "a": 0.5}) == '{"a":0.5,"b":[1,"\\u00e4"]}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1}) == "d3626ac30a87e6f7"
    assert len(digest(FULL, length=32)) == 32


def test_toml_decodes_to_the_value_it_says():
    text = """
    mode = "fast"
    radii = ["8/255", "1"]
    pair = [7, "b"]
    note = "text"
    on = false
    inner = { size = 3, rate = 0.1 }
    weights = { a = 1.5 }
    data = { name = "mnist", root = "elsewhere" }
    """
    assert decode(Outer, tomllib.loads(text)) == FULL


def test_a_bare_name_is_the_plug_in_with_default_fields():
    assert decode(DataSource, "mnist") == MNIST()
    assert decode(Defense, "trades/vanilla") == find("defenses", "trades")(base=Vanilla())


INNER = {"size": 1}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"inner": INNER, "moode": "fast"}, "unknown key 'moode'; did you mean 'mode'"),
        ({"inner": {"size": 1, "raet": 1}}, "inner: unknown key 'raet'; did you mean 'rate'"),
        ({}, "key 'inner' is missing; it has no default"),
        ({"inner": {}}, "inner: key 'size' is missing"),
        ({"inner": 3}, "inner: 3 is not a table"),
        ({"inner": {"size": 1.0}}, "inner.size: 1.0 is not an integer"),
        ({"inner": {"size": True}}, "inner.size: True is not an integer"),
        ({"inner": {"size": 1, "rate": "x"}}, "inner.rate: 'x' is not a finite number"),
        ({"inner": {"size": 1, "rate": float("nan")}}, "inner.rate: nan is not a finite number"),
        ({"inner": INNER, "mode": "fats"}, "mode: 'fats' is not an option; did you mean 'fast'"),
        ({"inner": INNER, "radii": ["8/255", 0.5]}, r"radii\[1\]: 0.5 is not a fraction"),
        ({"inner": INNER, "radii": ["1/0"]}, r"radii\[0\]: '1/0' is not a fraction"),
        ({"inner": INNER, "radii": "8/255"}, "radii: '8/255' is not a list"),
        ({"inner": INNER, "pair": [1]}, r"pair: \[1\] is not 2 entries"),
        ({"inner": INNER, "on": 1}, "on: 1 is not true or false"),
        ({"inner": INNER, "note": 1}, "note: 1 is not a text"),
        ({"inner": INNER, "weights": {"a": "b"}}, "weights.a: 'b' is not a finite number"),
        ({"inner": INNER, "data": {}}, "data: {} is not a name, or a table with one"),
        ({"inner": INNER, "data": {"name": 3}}, "data: 3 is not the name of a plug-in"),
        ({"inner": INNER, "data": {"name": "mnist", "rot": "x"}}, "data: unknown key 'rot'; did"),
        ({"inner": INNER, "data": {"name": "mnist", "version": 9}}, "data: written for version 9"),
        ({"inner": INNER, "data": "image-folder"}, "data: 'image-folder' alone does not say"),
    ],
)
def test_what_a_spec_does_not_know_is_refused_with_its_place(data, message):
    with pytest.raises(SpecError, match=message):
        decode(Outer, data)


@pytest.mark.parametrize("data", ["minst", {"name": "minst"}])
def test_an_unknown_plug_in_is_refused_with_its_place_and_the_nearest_name(data):
    with pytest.raises(UnknownName, match=r"^data: unknown data 'minst'; did you mean 'mnist'"):
        decode(Outer, {"inner": INNER, "data": data})


def test_what_a_constructor_refuses_is_reported_with_its_place():
    with pytest.raises(SpecError, match=r"^columns\[1\]: radius 0 is not positive"):
        decode(ThreatModel, {"name": "linf", "eps": "0"}, where="columns[1]")


@pytest.mark.parametrize("value", [float("inf"), object(), {1, 2}, b"bytes"])
def test_what_no_file_could_hold_is_not_encoded(value):
    with pytest.raises(SpecError, match="cannot be written in a spec"):
        encode(value)
