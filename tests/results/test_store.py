import errno
import os
import subprocess
import sys
import textwrap
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robustdeq.errors import ContractViolation, StoreError, UnknownName
from robustdeq.results.store.result_store import ResultStore
from robustdeq.results.store.tables import conform

from .examples import add, protocol, samples, survivors


def test_what_is_appended_is_found_again(store):
    first = add(store, "vanilla", survivors(3))
    add(store, "trades/vanilla", survivors(7))
    (found,) = store.scan({"entrant.chain": "vanilla"})
    assert found == first
    assert len(store.scan()) == 2
    assert store.samples(found, ["robust"])["robust"].to_pylist() == list(survivors(3))


def test_a_second_append_of_one_stem_fails_and_changes_nothing(store):
    record = add(store, "vanilla", survivors(3))
    before = {path: path.read_bytes() for path in store.records.iterdir()}
    with pytest.raises(StoreError, match="append-only"):
        store.append(record, {"samples": samples(survivors(5)[None])})
    assert {path: path.read_bytes() for path in store.records.iterdir()} == before


def test_an_append_killed_before_its_file_appears_leaves_no_record_and_can_be_repeated(store):
    # The process dies, without a chance to clean up, at the moment the file would appear.
    script = f"""
        import os, signal
        from results.examples import add, survivors
        from robustdeq.results.store.result_store import ResultStore
        os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        add(ResultStore({str(store.root)!r}), "vanilla", survivors(9))
    """
    tests = os.path.dirname(os.path.dirname(__file__))
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tests)
    assert killed.returncode < 0
    assert store.scan() == []
    assert list(store.records.iterdir()) != []
    record = add(store, "vanilla", survivors(3))
    (found,) = store.scan()
    assert found.stem == record.stem
    assert sum(store.samples(found)["robust"].to_pylist()) == 3


def scanned(store):
    """The one record and its verdicts, or why they cannot be read."""
    try:
        (found,) = store.scan()
        return f"{found} {store.samples(found)['robust'].to_pylist()}"
    except StoreError as error:
        return str(error)


def test_no_damage_of_a_file_is_read_as_a_record(store):
    record = add(store, "vanilla", survivors(3))
    path = store.records / f"{record.stem}.parquet"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        told = scanned(store)  # a byte of the footer that no reader looks at does no harm
        assert path.name in told or told == f"{record} {survivors(3).tolist()}"
    for size in range(1, len(whole), 11):
        path.write_bytes(whole[:size])
        with pytest.raises(StoreError, match=rf"{record.stem}\.parquet is not a whole record"):
            store.scan()


def test_a_renamed_record_is_refused(store):
    record = add(store, "vanilla", survivors(3))
    path = store.records / f"{record.stem}.parquet"
    path.rename(path.with_name("other.parquet"))
    with pytest.raises(StoreError, match="never renamed"):
        store.scan()


def test_an_unknown_field_or_column_offers_the_nearest(store):
    add(store, "vanilla", survivors(3))
    (record,) = store.scan()
    with pytest.raises(UnknownName, match="did you mean 'entrant'"):
        store.scan({"entrnat.chain": "vanilla"})
    with pytest.raises(UnknownName, match="did you mean 'margin'"):
        store.samples(record, ["margn"])


def test_a_folder_that_is_a_file_is_reported_in_a_sentence(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(StoreError, match=r"cannot write .*records: .*another with --results"):
        add(ResultStore(tmp_path / "runs"), "vanilla", survivors(3))


@pytest.mark.parametrize("call", ["fsync", "link"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_is_reported_and_leaves_no_record(store, monkeypatch, call, code):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StoreError, match=f"{os.strerror(code)}; make the results folder"):
            add(store, "vanilla", survivors(3))
    assert store.scan() == []
    assert not list(store.records.glob(".*"))
    add(store, "vanilla", survivors(3))


def test_a_table_that_does_not_fit_its_schema_is_refused(store):
    record = add(store, "vanilla", survivors(3))
    good, again = samples(survivors(3)[None]), replace(record, run=1)
    with pytest.raises(ContractViolation, match="has no table 'samples'"):
        store.append(again, {})
    with pytest.raises(ContractViolation, match="has the columns"):
        store.append(again, {"samples": good.drop_columns("margin")})
    holes = good.set_column(5, "robust", pa.array([None] * len(good), pa.bool_()))
    with pytest.raises(ContractViolation, match="does not fit its schema"):
        store.append(again, {"samples": holes})
    with pytest.raises(ContractViolation, match="known: samples, images, audit"):
        store.append(again, {"samples": good, "sample": good})
    assert len(store.scan()) == 1


def test_optional_tables_come_back_as_they_went_in(store):
    record = replace(add(store, "vanilla", survivors(3)), run=1)
    images = pa.table({"index": [0], "attack_seed": [0], "image": [[0.25, 0.5]]})
    audit = pa.table(
        {"check": ["zero-gradient"], "index": [None], "value": [0.0], "detail": ["ok"]}
    )
    store.append(record, {"samples": samples(survivors(3)[None]), "images": images, "audit": audit})
    found = store.scan({"run": 1})[0]
    assert store.table(found, "images").to_pylist() == images.to_pylist()
    assert store.table(found, "audit").to_pylist() == audit.to_pylist()


def test_a_table_keeps_its_types_and_takes_less_than_it_would_by_default(store):
    record = add(store, "vanilla", survivors(3))
    read = store.samples(store.scan()[0])
    assert read.schema.equals(conform("samples", read).schema)
    default = store.root / "default.parquet"
    pq.write_table(read, default, compression="zstd")
    path = store.records / f"{record.stem}.parquet"
    assert path.stat().st_size < 1.2 * default.stat().st_size  # the record itself included


def test_a_trial_is_finished_until_its_record_is_retracted(store):
    record = add(store, "vanilla", survivors(3))
    assert store.finished(record.trial, record.checkpoint)
    assert not store.finished(record.trial, "f" * 64)
    assert store.next_run(record.trial, record.checkpoint) == 1
    store.retract(record.stem, "the judge read warm states")
    assert not store.finished(record.trial, record.checkpoint)
    assert store.next_run(record.trial, record.checkpoint) == 1
    assert store.scan() == []
    assert len(store.scan(retracted=True)) == 1


def test_a_retraction_names_a_record_and_is_made_once(store):
    record = add(store, "vanilla", survivors(3))
    with pytest.raises(StoreError, match="has no record 'nothing'"):
        store.retract("nothing", "reason")
    store.retract(record.stem, "a defect", replaced_by="other")
    assert store.retractions()[record.stem].replaced_by == "other"
    with pytest.raises(StoreError, match="append-only"):
        store.retract(record.stem, "another defect")


def test_a_released_protocol_never_changes(store):
    store.write_protocol("tiny-v1", protocol())
    store.write_protocol("tiny-v1", protocol())
    with pytest.raises(StoreError, match="never changes"):
        store.write_protocol("tiny-v1", protocol(columns=("pgd",)))
    assert store.protocols() == ["tiny-v1"]
    assert store.protocol("tiny-v1").column_names == ["pgd", "apgd"]


def test_an_unknown_protocol_offers_the_nearest(store):
    store.write_protocol("tiny-v1", protocol())
    with pytest.raises(UnknownName, match="did you mean 'tiny-v1'"):
        store.protocol("tiny-v2")


def test_retractions_that_replace_each_other_in_a_circle_are_told(store):
    one, two = add(store, "vanilla", survivors(3)), add(store, "vanilla", survivors(4), run=1)
    store.retract(one.stem, "a defect", replaced_by=two.stem)
    assert len(store.scan()) == 1
    store.retract(two.stem, "another", replaced_by=one.stem)
    with pytest.raises(StoreError, match=r"are withdrawn and replace each other in a circle"):
        store.scan()


def test_a_retraction_under_another_records_name_is_told(store):
    one, two = add(store, "vanilla", survivors(3)), add(store, "vanilla", survivors(4), run=1)
    path = store.retract(one.stem, "a defect")
    path.rename(path.with_name(f"{two.stem}.json"))
    with pytest.raises(StoreError, match=rf"{two.stem}.json is the retraction of {one.stem}"):
        store.scan()
