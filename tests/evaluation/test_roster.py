"""Who enters: an entrant that is too dear for every image is attacked on the first ones."""

import pytest
import torch

from robustdeq.cli.options import chosen_entries
from robustdeq.engines.row import Row
from robustdeq.errors import SpecError
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.evaluation.roster import default_entries, find_entry, load_entries
from robustdeq.results.store.result_store import ResultStore
from robustdeq.training.trained import ensure_trained

LISTED = """
[[entrants]]
defense = "explicit"
recipe = { epochs = 1, validate_every = 1 }
images = 7
"""


@pytest.fixture
def listed(tmp_path):
    """The path of a roster file."""
    path = tmp_path / "entrants.toml"
    path.write_text(LISTED)
    return path


def test_every_column_of_a_limited_entry_attacks_at_most_so_many_images(listed, tmp_path):
    protocol = load_protocol("digits-linf-v2")
    (entry,) = load_entries(str(listed))
    data = protocol.load_data()
    entrant = protocol.entered(entry.entrant, data)
    ensure_trained(ResultStore(tmp_path), entrant, data, torch.device("cpu"))
    whole = Row(protocol, entrant, tmp_path, "cpu").missing(len(data.test))
    cut = Row(protocol, entrant, tmp_path, "cpu", first=entry.images).missing(len(data.test))
    assert {trial.column.images for trial in whole} == {None, 200}
    assert {trial.column.images for trial in cut} == {7}
    assert [trial.column.name for trial in cut] == [trial.column.name for trial in whole]


def test_images_is_no_part_of_who_an_entrant_is(listed):
    (entry,) = load_entries(str(listed))
    listed.write_text(LISTED.replace("images = 7", ""))
    assert entry.entrant == load_entries(str(listed))[0].entrant


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("images = 0", "explicit: images 0; expected at least 1, or leave it out to attack all"),
        ("seed = 3", "explicit: seed 3; leave it out"),
        ("image = 7", "did you mean 'images'"),
    ],
)
def test_a_wrong_key_of_an_entry_is_told(listed, given, told):
    listed.write_text(LISTED.replace("images = 7", given))
    with pytest.raises(SpecError, match=told):
        load_entries(str(listed))


def test_more_images_than_there_are_is_told_before_anything_is_run(listed):
    (entry,) = load_entries(str(listed))
    entry.require_images(7)
    with pytest.raises(SpecError, match="explicit: images 7, but there are 6; leave the key out"):
        entry.require_images(6)


def test_a_chain_outside_the_roster_enters_with_defaults_and_all_images():
    entry = find_entry("fgsm-training/vanilla", "digits-linf-v2")
    assert entry.images is None
    assert entry.defense.chain not in {e.defense.chain for e in default_entries("digits-linf-v2")}


def test_a_protocol_beside_another_has_its_line_up(tmp_path):
    entries = default_entries("digits-linf-v2")
    assert default_entries("digits-linf-jumps") == entries
    assert find_entry("mdeq", "digits-linf-jumps") == find_entry("mdeq", "digits-linf-v2")
    path = tmp_path / "mine.toml"
    path.write_text('same_as = "digits-linf-v2"')
    assert load_entries(str(path)) == entries


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("", "no entrants; write at least one"),
        ('same_as = "digits-linf-v2"\n' + LISTED, "same_as digits-linf-v2 beside 1 entrants"),
        ('same_as = "digits"', "same_as digits: no such protocol .* there are digits-linf-jumps"),
    ],
)
def test_a_roster_that_is_nobodys_or_two_is_told(tmp_path, written, told):
    path = tmp_path / "mine.toml"
    path.write_text(written)
    with pytest.raises(SpecError, match=told):
        load_entries(str(path))


def test_a_chain_whose_recipe_is_another_protocols_is_told_before_it_is_trained(capsys):
    (entry,) = chosen_entries(["mdeq"], [], "digits-linf-v1")
    assert entry == find_entry("mdeq", "digits-linf-v1") != find_entry("mdeq", "digits-linf-v2")
    told = capsys.readouterr().err
    assert "mdeq: digits-linf-v1 names no recipe for it" in told
    assert "digits-linf-jumps and digits-linf-v2" in told
    chosen_entries(["mdeq"], [], "digits-linf-v2")
    chosen_entries(["explicit", "fgsm-training/vanilla"], [], "digits-linf-v1")
    assert capsys.readouterr().err == ""
