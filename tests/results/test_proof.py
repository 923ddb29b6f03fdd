"""A record that somebody edited contradicts itself or its neighbors, whatever digests it has."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from robustdeq.errors import ContractViolation, StoreError
from robustdeq.evaluation.protocol import load_protocol, shipped
from robustdeq.results.store import result_store as store_module
from robustdeq.results.store.proof import Proof
from robustdeq.results.store.protocol import ResolvedProtocol
from robustdeq.results.store.record import Record
from robustdeq.results.store.released import RELEASED, protocol_digest
from robustdeq.results.store.result_store import ResultStore
from robustdeq.results.store.tables import AUDIT, STATES, to_numpy
from robustdeq.spec import decode

from .examples import DEQ, DIGEST, THREAT, N, add, samples, spec, survivors


def forged(store, monkeypatch, record, tables):
    """The record with these tables in place of the honest one, with all digests as they belong."""
    for path in store.records.glob(f"{record.stem}*"):
        path.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "prove", lambda *_: Proof((), None))
        patch.setattr(ResultStore, "_require_agreement", lambda *_: None)
        store.append(record, tables)


def changed(table, name, values, rows=slice(None)):
    """The table with other values in some rows of a column."""
    column = table[name].to_numpy(zero_copy_only=False).copy()
    column[rows] = values
    place = table.column_names.index(name)
    return table.set_column(place, name, pa.array(column, table.schema.field(name).type))


def figures(record, robust):
    return replace(record, robust=robust, seeds=dict.fromkeys(record.seeds, robust))


SPECIFICATIONS = {
    "another radius": lambda r: replace(r, threat={**r.threat, "eps": "1/4"}),
    "other steps": lambda r: replace(r, column={**r.column, "stages": []}),
    "another recipe": lambda r: replace(r, entrant={**r.entrant, "recipe": {"epochs": 9}}),
    "another seed": lambda r: replace(r, entrant={**r.entrant, "seed": 1}),
    "another defense": lambda r: replace(r, entrant={**r.entrant, "defense": spec("vanilla")}),
    "another slice": lambda r: replace(r, data={**r.data, "n": N + 1}),
    "the id of another": lambda r: replace(r, trial="0" * 16),
}


@pytest.mark.parametrize("edit", SPECIFICATIONS.values(), ids=SPECIFICATIONS)
def test_an_edited_specification_is_refused_with_the_ids(store, monkeypatch, edit):
    record = add(store, "trades/vanilla", survivors(7))
    edited = edit(record)
    for path in store.records.glob(f"{record.stem}*"):
        path.unlink()
    forged(store, monkeypatch, edited, {"samples": samples(survivors(7)[None])})
    with pytest.raises(StoreError, match=f"{edited.stem}.* its trial is {edited.trial}, but its"):
        store.scan()


def test_another_name_than_the_defense_has_is_refused(store, monkeypatch):
    record = add(store, "trades/vanilla", survivors(7))
    named = replace(record, entrant={**record.entrant, "chain": "trades/explicit"})
    forged(store, monkeypatch, named, {"samples": samples(survivors(7)[None])})
    with pytest.raises(StoreError, match="chain is 'trades/explicit', but its defense is 'trades/"):
        store.scan()


SAMPLES = {
    "robust set to clean": (lambda t: changed(t, "robust", True), 1.0, "robust is true on 5 sam"),
    "adv_pred set to robust": (
        lambda t: changed(changed(t, "robust", True), "adv_pred", t["label"].to_numpy()),
        1.0,
        "margin and adv_pred disagree on 5 samples",
    ),
    "a rival set to broken": (lambda t: changed(t, "robust", False), 0.0, "robust is false on 7"),
    "figures alone": (lambda t: t, 0.75, "robust is 0.75, but its samples give 0.583333"),
    "a label": (
        lambda t: changed(t, "label", 7, [0]),
        7 / 12,
        "robust is true on 1 sample whose clean_pred or adv_pred is not the label",
    ),
    "beyond the radius": (
        lambda t: changed(t, "distance", 0.375, [3, 4]),
        7 / 12,
        r"distance is 0.375 on 2 samples, but the radius is 0.1875",
    ),
    "a distance of no number": (
        lambda t: changed(t, "distance", np.nan, [3]),
        7 / 12,
        "distance is nan on 1 sample",
    ),
    "no distance": (
        lambda t: t.set_column(6, "distance", pa.array([None] * len(t), pa.float32())),
        7 / 12,
        "12 of its samples have no distance",
    ),
    "a distance below 0": (lambda t: changed(t, "distance", -1.0, [3]), 7 / 12, "distance is -1"),
    "an image twice": (lambda t: changed(t, "index", 0, [1]), 7 / 12, "first 12 images, once"),
    "an image elsewhere": (lambda t: changed(t, "index", N, [11]), 7 / 12, "first 12 images, once"),
    "fewer images": (lambda t: t.slice(0, 7), 1.0, "7 samples of 12 images"),
    "another attack seed": (
        lambda t: changed(t, "attack_seed", 5),
        7 / 12,
        r"not of the column's attack seeds \[0\]",
    ),
    "margins of no number": (
        lambda t: changed(t, "margin", np.nan, [11]),
        7 / 12,
        "margin is no number on 1 sample, but no flag says so",
    ),
    "draws that never failed": (
        lambda t: t.append_column("survival", pa.array([1.0] * len(t), pa.float32())),
        1.0,
        "survival says 99.0% of draws are right, but adv_pred is on 58.3%",
    ),
    "draws without number": (
        lambda t: t.append_column("survival", pa.array([np.nan] * len(t), pa.float32())),
        1.0,
        "survival is outside 0 to 1 on 12 samples",
    ),
}


@pytest.mark.parametrize(("edit", "robust", "said"), SAMPLES.values(), ids=SAMPLES)
def test_samples_that_cannot_be_are_refused_with_their_file(
    store, monkeypatch, edit, robust, said
):  # fmt: skip
    record = add(store, "trades/vanilla", survivors(7))
    table = edit(samples(survivors(7)[None]))
    forged(store, monkeypatch, figures(record, robust), {"samples": table})
    with pytest.raises(StoreError, match=f"{record.stem}.* contradicts itself: .*{said}"):
        store.scan()


def test_clean_answers_and_labels_are_one_over_the_attack_seeds(store, monkeypatch):
    record = add(store, "vanilla", np.array([survivors(7), survivors(7)]))
    table = changed(samples(np.array([survivors(7), survivors(7)])), "clean_pred", 9, [12])
    forged(store, monkeypatch, record, {"samples": table})
    with pytest.raises(StoreError, match="label or clean_pred of an image differs between"):
        store.scan()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda r: replace(r, clean=0.5), "clean is 0.5, but its samples give 1"),
        (lambda r: replace(r, seeds={"0": 1.0}), "robust under attack seed 0 is 1.0, but its"),
        (lambda r: replace(r, seeds={"1": 7 / 12}), r"figures of the attack seeds 1, its column"),
        (lambda r: replace(r, n=11), "n is 11, but its column attacks 12 images"),
        (
            lambda r: replace(r, deployment={**DEQ, "converged_clean": 0.4}),
            "under 97% of its rows converged, but it has no flag 'unconverged'",
        ),
        (
            lambda r: replace(r, provenance={**r.provenance, "created": "tomorrow"}),
            "it was created at 'tomorrow', which is no time",
        ),
        (
            lambda r: replace(r, sources=({"chain": "vanilla", "seed": 1},)),
            r"its sources are \[\('vanilla', 1\)\], but its column attacks from \[\]",
        ),
    ],
)
def test_figures_that_do_not_follow_are_refused(store, monkeypatch, edit, said):
    record = add(store, "vanilla", survivors(7))
    forged(store, monkeypatch, edit(record), {"samples": samples(survivors(7)[None])})
    with pytest.raises(StoreError, match=said):
        store.scan()


def test_a_refusal_has_no_figures(store, monkeypatch):
    record = add(store, "vanilla", None)
    forged(store, monkeypatch, record, {"samples": samples(survivors(7)[None])})
    with pytest.raises(StoreError, match="it was refused, but has figures"):
        store.scan()


def audit(store, *flags, raised=(), outcome="raised; by hand"):
    rows = [
        {"check": f"gradient: {flag}", "index": None, "value": 0.5, "detail": outcome}
        for flag in raised
    ]
    return add(
        store, "vanilla", survivors(7), name="audit", flags=flags,
        settings={"goal": "audit", "stages": []},
        extra={"audit": pa.Table.from_pylist(rows, schema=AUDIT)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "raised", "said"),
    [
        ((), ("zero-gradient",), "its flags are none, but its audit raises zero-gradient"),
        (("zero-gradient",), (), "its table has not one check"),
        (("stateful",), ("zero-gradient",), "its flags are stateful, but its audit raises zero"),
    ],
)
def test_flags_of_an_audit_are_those_of_its_table(store, flags, raised, said):
    with pytest.raises(ContractViolation, match=said):
        audit(store, *flags, raised=raised)


def test_what_an_audit_found_unstable_is_no_flag(store):
    audit(store, raised=("zero-gradient",), outcome="unstable; by hand")
    assert len(store.scan()) == 1


def test_states_are_of_the_records_images(store):
    line = {"attacked": "clean", "attack_seed": 0, "judged": 1, "accuracy": 1.5, "entropy": 0.0}
    states = pa.Table.from_pylist([{**line, "residual": 0.0, "n": 3}], schema=STATES)
    with pytest.raises(ContractViolation, match=r"accuracy is 1.5; its states are not of the 12"):
        add(
            store, "vanilla", survivors(7), settings={"goal": "map"}, extra={"states": states}
        )  # fmt: skip


def test_an_honest_record_that_loses_a_few_settled_answers_is_kept(store, monkeypatch):
    """Right in the first answer and wrong in another batch: broken, and no forgery."""
    record = add(store, "vanilla", survivors(7))
    table = changed(samples(survivors(7)[None]), "robust", False, [0])
    forged(store, monkeypatch, figures(record, 0.5), {"samples": table})
    with pytest.raises(StoreError, match="robust is false on 1 sample"):
        store.scan()  # 1 of 12 is above a twentieth
    flags = ({"name": "row-coupled", "detail": ""},)
    forged(store, monkeypatch, replace(figures(record, 0.5), flags=flags), {"samples": table})
    assert len(store.scan()) == 1


def test_one_data_slice_has_one_list_of_labels(store, monkeypatch):
    add(store, "vanilla", survivors(7))
    record = add(store, "explicit", survivors(7))
    honest = samples(survivors(7)[None])
    label = (to_numpy(honest, "label") + 1) % 10
    table = changed(changed(honest, "label", label), "clean_pred", label)
    table = changed(table, "adv_pred", np.where(survivors(7), label, (label + 1) % 10))
    forged(store, monkeypatch, record, {"samples": table})
    with pytest.raises(StoreError, match="contradict each other: the label of image 0 of the sam"):
        store.scan()


@pytest.fixture
def unchecked(monkeypatch):
    """Records are stored whatever those of the same weights say, as a forger would."""
    monkeypatch.setattr(ResultStore, "_require_agreement", lambda *_: None)


def test_the_same_weights_answer_clean_images_alike(store, unchecked):
    add(store, "vanilla", survivors(7))
    add(store, "vanilla", survivors(7), name="apgd", wrong=1)
    assert len(store.scan()) == 2  # one image may be another machine's rounding
    forgery = add(store, "vanilla", survivors(7), name="square", wrong=3)
    with pytest.raises(StoreError, match="clean_pred of the same weights differs on 3 of 12 imag"):
        store.scan()
    store.retract(forgery.stem, "forged")
    assert len(store.scan()) == 2


def test_what_would_stop_the_board_is_not_stored(store):
    """An entrant whose answers hang on what it was asked before took everybody's row with it."""
    kept = add(store, "vanilla", survivors(7))
    with pytest.raises(ContractViolation, match=r"vanilla square is not stored: .* differs on 3"):
        add(store, "vanilla", survivors(7), name="square", wrong=3)
    assert [record.stem for record in store.scan()] == [kept.stem]


def test_the_same_weights_have_one_solver(store, unchecked):
    add(store, "vanilla", survivors(7))
    add(store, "vanilla", survivors(7), name="apgd", deployment=dict.fromkeys(DEQ))
    with pytest.raises(StoreError, match="the same weights are deployed with"):
        store.scan()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c["threat"].update(eps="1/8"), "its specification is that of"),
        (lambda c: c["threat"].update(name="l2"), "its specification is that of"),
        (lambda c: c["data"].update(digest="e2" * 32), "its specification is that of"),
        (lambda c: c["cost"].update(forward=-1.0), "its cost is"),
        (lambda c: c["entrant"].update(adaptive=[{"version": 1}]), "is damaged: a part of it"),
        (lambda c: c["deployment"].update(converged_clean="all"), "is damaged: a part of it"),
    ],
)
def test_an_edit_is_told_whatever_the_reader_asked_for(store, monkeypatch, change, told):
    """One that took a record out of a board's data or threat was seen by nobody."""
    record = add(store, "vanilla", survivors(7))
    content = json.loads(record.to_json())
    change(content)
    edited = Record.from_json(json.dumps(content))
    forged(store, monkeypatch, edited, {"samples": samples(survivors(7)[None])})
    for where in ({}, {"data.digest": DIGEST, "threat": THREAT}):
        with pytest.raises(StoreError, match=told):
            ResultStore(store.root).scan(where)


def test_a_released_protocol_is_what_was_released(tmp_path):
    name = "digits-linf-v1"
    store = ResultStore(tmp_path)
    path = store.write_protocol(name, load_protocol(name).resolved(500))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"training_seeds": [\n  0', '"training_seeds": [\n  1'))
    assert path.read_text(encoding="utf-8") != text
    with pytest.raises(StoreError, match="is not the protocol 'digits-linf-v1' that was released"):
        store.protocol(name)


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_protocol_counts_as_released(name):
    protocol = load_protocol(name)
    resolved = decode(ResolvedProtocol, protocol.resolved(len(protocol.load_data().test)))
    assert RELEASED[name] == protocol_digest(resolved)
