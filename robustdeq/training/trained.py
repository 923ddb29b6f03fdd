"""Entrants in a results folder: trained once, loaded strictly, with what was learnt beside them."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustdeq.data.base import DataSet
from robustdeq.defenses.base import Batch, DefendedModel, Task
from robustdeq.defenses.returned import plain
from robustdeq.entrant import Entrant
from robustdeq.errors import CheckpointError, DataError, SpecError
from robustdeq.hints import hint
from robustdeq.models.base import Classifier, parameter_count
from robustdeq.noise import NoiseStream
from robustdeq.precision import full_precision
from robustdeq.progress import Progress, unseen
from robustdeq.registry import plugin_options
from robustdeq.results.store.files import read_text, write
from robustdeq.results.store.result_store import ResultStore
from robustdeq.spec import encode
from robustdeq.training.central import build
from robustdeq.training.checkpoint import load_checkpoint, save_checkpoint
from robustdeq.training.loops.base import check, train

_PROBED = 32  # held-out images whose answers are drawn twice


@dataclass(frozen=True)
class Trained:
    """What the store knows of a trained entrant.

    Attributes:
        randomised: whether its answers were seen to depend on its noise.
    """

    checkpoint: str
    calibration: dict[str, Any]
    randomised: bool = False


def find_trained(store: ResultStore, entrant: Entrant) -> Trained | None:
    """The entrant's weights and calibration, if its training has finished.

    Raises:
        CheckpointError: the entry is damaged.
    """
    path = store.entrants / entrant.id / "entrant.json"
    if not path.exists():
        return None
    try:
        facts = json.loads(read_text(path))
        if not isinstance(facts["calibration"], dict):
            raise TypeError(f"its calibration is {facts['calibration']!r}")
        return Trained(facts["checkpoint"], facts["calibration"], facts.get("randomised", False))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); delete it to train again") from None


def require_trained(store: ResultStore, entrant: Entrant, protocol: str = "PROTOCOL") -> Trained:
    """What the store knows of an entrant that has to be trained already.

    Args:
        protocol: the name or TOML file that it was asked for by; the message's command has it.

    Raises:
        CheckpointError: it is not trained, or the entry is damaged.
    """
    trained = find_trained(store, entrant)
    if trained is None:
        command = hint(
            "train", entrant.chain, "--seed", entrant.seed, "--protocol", protocol,
            "--results", store.root, *plugin_options(),
        )  # fmt: skip
        raise CheckpointError(
            f"{entrant.chain} seed {entrant.seed} is not trained in {store.root}; run {command} "
            f"first"
        )
    return trained


@full_precision()
def ensure_trained(
    store: ResultStore,
    entrant: Entrant,
    data: DataSet,
    device: torch.device,
    progress: Progress = unseen,
) -> Trained:
    """Train what is not trained yet, go on with what was interrupted, and calibrate.

    An inference wrapper trains nothing: it shares the weights of the chain it wraps. Weights whose
    file was deleted are trained again; a file that is there has to load.

    Raises:
        DataError: the data is not what the entrant is specified for.
        SpecError, CheckpointError, StoreError: as training, loading and writing do.
    """
    require_digest(entrant.chain, entrant.data, data)
    task, begun = Task(data.shape, data.classes), entrant.id
    found = find_trained(store, entrant)
    if found is not None and _weights(store, entrant).exists():
        _network(store, entrant, task, device, found.checkpoint)
        return found
    if entrant.trained != entrant:
        check(entrant, data)
        checkpoint = ensure_trained(store, entrant.trained, data, device, progress).checkpoint
        model, log = _network(store, entrant, task, device, checkpoint), []
        return _enter(store, entrant, model, checkpoint, data, log)
    resume = store.entrants / entrant.id / "unfinished.safetensors"
    model, log = train(entrant, data, device, resume, progress)
    require_same(entrant.chain, begun, entrant.id)
    checkpoint = save_checkpoint(_weights(store, entrant), model)
    trained = _enter(store, entrant, model, checkpoint, data, log)
    resume.unlink(missing_ok=True)
    return trained


def require_digest(chain: str, expected: str, data: DataSet) -> None:
    """Refuse data that is not what an entrant is, or was, trained on.

    Raises:
        DataError: its digest is another one.
    """
    if (found := data.training_digest()) != expected:
        raise DataError(
            f"{chain} is to be trained on data of digest {expected[:16] or 'none'}, "
            f"but this has {found[:16]}: the files have changed meanwhile, so run the same command "
            f"again; in a program, enter it by `Protocol.entered`, or `Entrant.trained_on`"
        )


def require_same(chain: str, before: str, now: str) -> None:
    """Refuse to go on with a plug-in whose files have changed, under the name of the old ones.

    Raises:
        SpecError: two ids of one entrant or trial differ.
    """
    if before != now:
        raise SpecError(
            f"{chain}: a plug-in's source, or a file that it reads, has changed while this command "
            f"runs; run the same command again"
        )


def load_model(
    store: ResultStore, entrant: Entrant, task: Task, device: torch.device
) -> DefendedModel:
    """A freshly built entrant with its recorded weights, in evaluation mode and frozen.

    Raises:
        CheckpointError: it is not trained, or its weights are not the recorded ones.
    """
    trained = require_trained(store, entrant)
    model = _network(store, entrant, task, device, trained.checkpoint)
    return DefendedModel(entrant.defense, model, trained.calibration)


def _network(
    store: ResultStore, entrant: Entrant, task: Task, device: torch.device, checkpoint: str
) -> Classifier:
    model = build(entrant, task)
    load_checkpoint(_weights(store, entrant), model, checkpoint)
    return model.to(device).eval().requires_grad_(False)


def _weights(store: ResultStore, entrant: Entrant) -> Path:
    return store.checkpoints / f"{entrant.trained.id}.safetensors"


def _enter(
    store: ResultStore,
    entrant: Entrant,
    model: Classifier,
    checkpoint: str,
    data: DataSet,
    log: list[dict[str, Any]],
) -> Trained:
    """Calibrate on the held-out images and write the entrant's entry, the last step of training."""
    begun = entrant.id
    device = next(model.parameters()).device
    split, threat = data.held_out.to(device), entrant.recipe.threat
    assert threat is not None, "training would have refused"
    held_out = Batch(
        split.images, split.labels, torch.arange(len(split.images), device=device), threat
    )
    noise = NoiseStream(entrant.seed).child("calibration").at(held_out.rows)
    target = DefendedModel(entrant.defense, model, {})
    calibration = plain(
        entrant.defense.calibrate(target, held_out, noise), f"{entrant.chain}: `calibrate`"
    )
    randomised = _randomised(replace(target, calibration=calibration), held_out.x[:_PROBED])
    facts = {
        "chain": entrant.chain,
        "entrant": encode(entrant),
        "card": asdict(entrant.defense.card),
        "parameters": parameter_count(model),
        "checkpoint": checkpoint,
        "calibration": calibration,
        "randomised": randomised,
        "log": log,
    }
    require_same(entrant.chain, begun, entrant.id)  # an entry is of what it was computed with
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    write(store.entrants / entrant.id / "entrant.json", text.encode())
    return Trained(checkpoint, calibration, randomised)


def _randomised(target: DefendedModel, images: Tensor) -> bool:
    """Whether answers depend on the draws that the defense is handed."""
    rows = torch.arange(len(images), device=images.device)
    first, second = (
        target.predict(images, rows, NoiseStream(0).child("probe", draw)).logits for draw in (0, 1)
    )
    return not torch.equal(first, second)
