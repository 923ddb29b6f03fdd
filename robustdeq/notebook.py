"""What a notebook needs: load an entrant, attack it, evaluate a column, read and compare boards."""

import warnings
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustdeq.errors import SpecError, UnknownName
from robustdeq.results.boards.compare import Paired
from robustdeq.results.boards.compare import compare as compare_entrants
from robustdeq.results.boards.leaderboard import Standing
from robustdeq.results.boards.leaderboard import leaderboard as standings
from robustdeq.results.flags import find_flag
from robustdeq.results.store.record import Record
from robustdeq.results.store.result_store import ResultStore

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import Tensor

    from robustdeq.attacks.base import Attack
    from robustdeq.data.base import DataSet
    from robustdeq.defenses.base import DefendedModel
    from robustdeq.entrant import Entrant
    from robustdeq.evaluation.checks import Finding
    from robustdeq.evaluation.protocol import Protocol
    from robustdeq.training.trained import Trained

DEFAULT = "digits-linf-v1"


def load_model(
    chain: str, results: str | Path = "runs", protocol: str = DEFAULT, seed: int = 0
) -> "DefendedModel":
    """A trained entrant, frozen and in evaluation mode, on the CPU.

    Args:
        chain: the defense chain, outermost first: "adversarial-training/vanilla".
        results: the folder that `robustdeq run` or `robustdeq train` wrote.

    Raises:
        UnknownName: no such defense or protocol; the message offers the nearest name.
        CheckpointError: it is not trained there, or its weights are not the recorded ones.
        SpecError: it is not trained there, and the protocol has no such training seed.
    """
    import torch

    from robustdeq.defenses.base import Task
    from robustdeq.surroundings import own_surroundings
    from robustdeq.training.trained import load_model as load

    with own_surroundings():
        rules, entrant, data = _entered(chain, protocol, seed)
        store, task = ResultStore(results), Task(data.shape, data.classes)
        _trained(store, entrant, rules, protocol)
        return load(store, entrant, task, torch.device("cpu"))


def attack(
    model: "DefendedModel",
    x: "Tensor | ndarray",
    y: "Tensor | ndarray",
    attack: "str | Attack" = "apgd",
    eps: str | int | float | Fraction = Fraction(8, 255),
    norm: str = "linf",
    seed: int = 0,
    salt: str = "",
) -> "tuple[Tensor, Tensor]":
    """Attack images through the defended path and let the deployed predictor judge.

    Copies of the model are attacked and judged, in evaluation mode and under torch's defaults, as a
    trial would: the model, the images and whatever is set globally stay as they are. A flag that
    would block a rank is a warning: no gradient, none to follow, or answers that are no function of
    the image.

    Args:
        x: (B, channels, height, width) float32 in [0, 1]; y: (B,) class numbers.
        attack: a name, or an attack with its own fields: PGD(steps=40).
        eps: the radius, a fraction such as "8/255" or 8 / 255.
        salt: keys what a randomized defense draws; that of a record repeats its draws.

    Returns:
        The most damaging input found for each image, and (B,) bool: where the model is still right.
        Of a randomized defense (B,) float instead: the share of 100 fresh draws that are right.

    Raises:
        DataError: images or labels that do not fit the model, or that no model may be given.
        SpecError: a name or a radius is not right, or an argument is of another kind.
        ContractViolation: the model cannot be copied, or the attack breaks its contract.
    """
    from robustdeq.attacks.base import Attack
    from robustdeq.evaluation.attack import attack as run
    from robustdeq.evaluation.bench import copied, settled
    from robustdeq.evaluation.checks import stage_findings
    from robustdeq.evaluation.column import Stage
    from robustdeq.evaluation.given import given
    from robustdeq.evaluation.remote import ask
    from robustdeq.evaluation.sides import sides
    from robustdeq.spec import decode
    from robustdeq.surroundings import own_surroundings
    from robustdeq.threats.base import ThreatModel, radius

    chosen = decode(Attack, attack, "attack") if isinstance(attack, str) else attack
    _require_kinds(model, chosen, seed, salt)
    threat = decode(ThreatModel, {"name": norm, "eps": str(radius(eps))}, "threat")
    with own_surroundings():
        unasked = settled(copied(model))
        samples = given(copied(unasked), x, y, threat).samples().copy()
        each, stage = sides(lambda: copied(unasked), samples, salt=salt), Stage(chosen)
        findings = [*each.findings]
        if chosen.needs_gradient and len(samples):
            findings += ask(each.attacked, stage_findings, stage, samples, salt, ())
        _warn(findings)
        found = run(each.attacked, each.judge, samples, threat, (stage,), seed)
        right = found.survival if each.judge.randomised else found.verdict.right
        return found.crafted.x, right


def _require_kinds(model: Any, attack: Any, seed: Any, salt: Any) -> None:
    """
    Raises:
        SpecError: one of them is of another kind.
    """
    from robustdeq.attacks.base import Attack
    from robustdeq.defenses.base import DefendedModel

    wanted = (
        ("model", model, DefendedModel, "a DefendedModel, such as `load_model` returns"),
        ("attack", attack, Attack, "a name, or an attack such as PGD(steps=40)"),
        ("seed", seed, int, "a whole number"),
        ("salt", salt, str, "a text"),
    )
    for name, value, kind, told in wanted:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise SpecError(f"{name} is of the type {type(value).__name__}; expected {told}")


def _warn(findings: "list[Finding]") -> None:
    """Say what on a board would be a flag that blocks a rank."""
    for finding in findings:
        if find_flag(finding.name).blocking:
            warnings.warn(
                f"{finding.name}: {finding.detail}; what withstands this attack need not be "
                f"robust. {find_flag(finding.name)}",
                stacklevel=3,
            )


def evaluate(
    chain: str,
    column: str,
    results: str | Path = "runs",
    protocol: str = DEFAULT,
    seed: int = 0,
    salt: str | None = None,
) -> Record:
    """Run one column of a protocol on a trained entrant; returns its record, which is not stored.

    Args:
        column: one of the protocol's, or one that is derived from what the entrant does at
            inference.
        salt: keys what a randomized defense draws, by default drawn afresh; that of a record
            repeats its draws.

    Raises:
        UnknownName: there is no such column.
        CheckpointError: the entrant is not trained there, or a source that the column transfers
            from is not.
        SpecError: it is not trained there, and the protocol has no such training seed.
    """
    from dataclasses import replace

    import torch

    from robustdeq.evaluation.adaptive import derived_columns
    from robustdeq.evaluation.trial import Trial
    from robustdeq.surroundings import own_surroundings
    from robustdeq.workbench import run_trial, trained_bench

    with own_surroundings():
        rules, entrant, data = _entered(chain, protocol, seed)
        store = ResultStore(results)
        trained = _trained(store, entrant, rules, protocol)
        derived = derived_columns(rules.adaptive, entrant.defense, trained.randomised)
        columns = {each.name: each for each in (*rules.columns, *derived)}
        if column not in columns:
            raise UnknownName(f"column of {protocol}", column, columns)
        trial = Trial(entrant, columns[column], rules.slice(len(data.test)), rules.threat)
        bench = trained_bench(store, trial, data, torch.device("cpu"), protocol=protocol)
        if salt is not None:
            bench = replace(bench, salt=salt)
        return run_trial(trial, bench, data)[0]


def leaderboard(results: str | Path = "runs", protocol: str = DEFAULT) -> list[Standing]:
    """The standings of a protocol, best first, computed from the records of a results folder."""
    return standings(ResultStore(results), protocol)


def compare(a: str, b: str, results: str | Path = "runs", protocol: str = DEFAULT) -> Paired:
    """The paired difference of two entrants, as the board names them."""
    return compare_entrants(ResultStore(results), protocol, a, b)


def _entered(chain: str, protocol: str, seed: int) -> "tuple[Protocol, Entrant, DataSet]":
    from dataclasses import replace

    from robustdeq.evaluation.protocol import load_protocol
    from robustdeq.evaluation.roster import find_entry

    rules = load_protocol(protocol)
    data = rules.load_data()
    entrant = replace(rules.entered(find_entry(chain, protocol).entrant, data), seed=seed)
    return rules, entrant, data


def _trained(store: ResultStore, entrant: "Entrant", rules: "Protocol", protocol: str) -> "Trained":
    """What the store knows of the entrant; a command trains it only under the protocol's seeds."""
    from robustdeq.training.trained import find_trained, require_trained

    if find_trained(store, entrant) is None:
        rules.require_seeds((entrant.seed,))
    return require_trained(store, entrant, protocol)
