import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from robustdeq.errors import StoreError, UnknownName
from robustdeq.results.flags import FLAGS, find_flag
from robustdeq.results.formats.publish import check_boards, render, write_boards
from robustdeq.results.store.result_store import ResultStore

from .examples import add, audit_all, protocol, survivors, tiny_store

GOLDEN = Path(__file__).parent / "records_v1"
GOLDEN_RECORDS = sorted((GOLDEN / "records").glob("*.json"))


@pytest.mark.parametrize("path", GOLDEN_RECORDS, ids=lambda path: path.stem)
def test_every_golden_record_of_schema_1_loads(path):
    content = json.loads(path.read_text())
    (record,) = (r for r in ResultStore(GOLDEN).scan() if r.stem == path.stem)
    tables = content.pop("tables", {})
    assert json.loads(record.to_json()) == {**content, "schema": 2}
    for name in tables:
        table = ResultStore(GOLDEN).table(record, name)
        assert table.equals(pq.read_table(path.with_name(f"{path.stem}.{name}.parquet")))


def test_nothing_is_added_to_a_store_of_schema_1(tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "runs")
    with pytest.raises(StoreError, match=r"schema 1, .* with `robustdeq migrate .*runs`"):
        add(ResultStore(tmp_path / "runs"), "lyadeq", survivors(3))


def test_the_golden_records_give_the_golden_boards_byte_for_byte():
    assert len(GOLDEN_RECORDS) == 8
    assert len(list((GOLDEN / "boards").iterdir())) == 3
    assert check_boards(GOLDEN) == []


def test_an_edited_board_is_found_with_its_first_differing_line(tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "runs")
    path = tmp_path / "runs" / "boards" / "tiny-v1.csv"
    path.write_text(path.read_text().replace("0.333333", "0.433333", 1))
    (difference,) = check_boards(tmp_path / "runs")
    assert "tiny-v1.csv differs" in difference
    assert "at line 2: it has 'trades/vanilla,trades,vanilla,1.0,0.433333" in difference


def test_a_line_missing_at_the_end_is_a_difference(tmp_path):
    store = tiny_store(tmp_path)
    for path in write_boards(store, "tiny-v1"):
        path.write_text(path.read_text().rstrip("\n"))
    assert len(check_boards(tmp_path)) == 3


def test_a_board_of_damaged_bytes_is_a_difference(tmp_path):
    store = tiny_store(tmp_path)
    write_boards(store, "tiny-v1")
    path = store.boards / "tiny-v1.md"
    path.write_bytes(b"\xff" + path.read_bytes())
    (difference,) = check_boards(tmp_path)
    assert "tiny-v1.md differs" in difference


def test_the_json_board_has_exactly_the_promised_fields(tmp_path):
    board = json.loads(render(tiny_store(tmp_path), "tiny-v1", "json"))
    assert list(board) == ["protocol", "standings", "controlled"]
    assert board["protocol"] == "tiny-v1"
    wanted = "entrant defense base clean robust protocol_robust external_robust interval n seeds "
    wanted += "rank weakest complete audited flags columns column_n cost deployment"
    for standing in board["standings"]:
        assert list(standing) == wanted.split()
    first = board["standings"][0]
    assert (first["robust"], first["external_robust"]) == (0.333333, 0.333333)
    assert first["rank"] is None


def test_the_csv_board_has_a_row_for_each_standing(tmp_path):
    rows = list(csv.DictReader(io.StringIO(render(tiny_store(tmp_path), "tiny-v1", "csv"))))
    assert [row["entrant"] for row in rows][:2] == ["trades/vanilla", "vanilla"]
    assert rows[3]["columns.apgd"] == rows[3]["deployment.solver"] == ""
    assert rows[0]["interval_low"] == "0.13812"


def test_the_columns_of_a_markdown_board_line_up(tmp_path):
    lines = render(tiny_store(tmp_path), "tiny-v1", "md").splitlines()
    bars = [tuple(i for i, c in enumerate(line) if c == "|") for line in lines if line[:1] == "|"]
    assert len(bars) == 3 * 6
    assert len(set(bars)) == 3


def test_a_markdown_board_shows_note_bounds_and_footnotes(store):
    resolved = protocol(seeds=(0, 1, 2), columns=("pgd",))
    store.write_protocol("tiny-v1", {**resolved, "note": "A check of the machinery."})
    for seed in range(3):
        for chain in ("vanilla", "explicit"):
            add(store, chain, survivors(6 + seed), seed=seed)
        add(store, "trades/vanilla", survivors(8), seed=seed, flags=("zero-gradient",))
    audit_all(store)
    text = render(store, "tiny-v1", "md")
    assert "A check of the machinery." in text
    assert "|   1= | explicit " in text
    assert "at most 66.7 |" in text
    assert "tied: no test tells them apart" in text
    assert str(find_flag("zero-gradient")) in text
    assert "provisional" not in text


def test_a_retracted_figure_stays_in_a_footnote_until_it_is_replaced(store):
    store.write_protocol("tiny-v1", protocol())
    record = add(store, "vanilla", survivors(6))
    store.retract(record.stem, "warm judge")
    text = render(store, "tiny-v1", "md")
    assert "No entrant has a record yet." in text
    assert "vanilla, seed 0, pgd: 50.0 % was retracted (warm judge)." in text
    add(store, "vanilla", survivors(5), run=1)
    assert "retracted" not in render(store, "tiny-v1", "md")


def test_a_board_tells_of_a_retracted_record_that_is_missing_and_prints_the_others(store):
    """It stopped at the file, and no row was printed."""
    store.write_protocol("tiny-v1", protocol())
    record = add(store, "vanilla", survivors(6))
    add(store, "trades", survivors(5))
    store.retract(record.stem, "warm judge")
    (store.records / f"{record.stem}.parquet").unlink()
    text = render(store, "tiny-v1", "md")
    assert "| trades" in text
    assert (
        f"A record was retracted (warm judge) and is missing: restore "
        f"records/{record.stem}.parquet." in text
    )


def test_an_unknown_format_offers_the_nearest(tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'json'"):
        render(tiny_store(tmp_path), "tiny-v1", "jsonl")


def test_every_flag_is_described_in_three_sentences():
    assert len({flag.name for flag in FLAGS}) == len(FLAGS) == 28
    for flag in FLAGS:
        for sentence in (flag.raised, flag.matters, flag.remedy):
            assert sentence.endswith(".")
            assert sentence.count(". ") == 0
    with pytest.raises(UnknownName, match="did you mean 'zero-gradient'"):
        find_flag("zero-gradients")


def test_a_board_imports_neither_torch_nor_pandas():
    script = f"""if True:
        import sys
        from robustdeq.results import ResultStore, render, report
        store = ResultStore({str(GOLDEN)!r})
        render(store, "tiny-v1", "md")
        report(store, "tiny-v1", ["trades/vanilla", "vanilla"])
        assert "torch" not in sys.modules
        assert "pandas" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", script], check=True)
