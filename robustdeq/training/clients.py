"""The clients of a federated training: who has which images, and one client's part of a round.

Plain functions of what a client has and is sent, so that any engine can run them anywhere.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int
from scipy.special import gammaincinv
from torch import Tensor

from robustdeq.data.base import Split
from robustdeq.defenses.base import Batch, DefendedModel, Task
from robustdeq.defenses.federated import Federated
from robustdeq.defenses.fusion import Report
from robustdeq.entrant import Entrant
from robustdeq.errors import SpecError
from robustdeq.models.base import Classifier
from robustdeq.models.equilibrium_network import EquilibriumNetwork
from robustdeq.noise import NoiseStream
from robustdeq.training.central import build
from robustdeq.training.state import Weights
from robustdeq.training.step import optimise


@dataclass(frozen=True, eq=False)
class Client:
    """What one client has.

    Attributes:
        rows: the positions (n,) of its images in the training split, which key their noise.
        budget: solver steps it can afford; None is the deployed network's own.
    """

    number: int
    rows: Int[Tensor, " n"]
    images: Split
    budget: int | None


@dataclass(frozen=True)
class Work:
    """One client's part of one round.

    Attributes:
        first: gradient steps that this client took in earlier rounds.
        steps: that it takes now.
        rate: the learning rate of all of them.
        progress: the share of the whole training that is done, for schedules.
    """

    round: int
    first: int
    steps: int
    rate: float
    progress: float


@dataclass(frozen=True, eq=False)
class Update:
    """What a client sends back, and the mean loss before its steps."""

    report: Report
    weights: Weights
    loss: float


def client_update(
    entrant: Entrant,
    task: Task,
    client: Client,
    weights: Mapping[str, Tensor],
    work: Work,
    memory: dict[str, Tensor],
) -> Update:
    """Train the network that the server sent on the client's own images, at its own budget.

    Args:
        weights: the server's, unchanged by this.
        memory: what the defense keeps from step to step; it stays with the client.

    Raises:
        SpecError: the budget does not fit the network, or the loss is NaN.
    """
    recipe, device = entrant.recipe, client.rows.device
    assert recipe.threat is not None  # the loop refuses such a recipe
    network = build(entrant, task).to(device)
    network.load_state_dict(dict(weights))
    network = cut(network, client.budget)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=recipe.weight_decay)
    noise = NoiseStream(entrant.seed).child("training", "client", client.number)
    target = DefendedModel(entrant.defense, network, {}, work.progress)
    total, n = torch.zeros((), device=device), len(client.rows)
    for step in range(work.first, work.first + work.steps):
        epoch, chosen = _chosen(step, n, recipe.batch_size, noise)
        chosen = chosen.to(device)
        x, y, rows = (
            part[chosen] for part in (client.images.images, client.images.labels, client.rows)
        )
        batch = Batch(x, y, rows, recipe.threat)
        draws = noise.child("round", work.round, "epoch", epoch).at(rows)
        total += optimise(target, batch, draws, memory, optimizer, work.rate)
    loss = (total / work.steps).item()
    if math.isnan(loss):
        raise SpecError(
            f"training {entrant.chain} diverged at client {client.number} in round {work.round}: "
            f"the loss is NaN; lower the learning rate ({recipe.learning_rate})"
        )
    network.eval().requires_grad_(False)
    residual = network.predict(client.images.images).residual.mean().item()
    report = Report(client.number, n, budget_of(network), residual)
    return Update(report, {k: v.detach() for k, v in network.state_dict().items()}, loss)


def cut(network: Classifier, budget: int | None) -> Classifier:
    """The same weights, shared, with a solver of at most `budget` steps; None changes nothing.

    Raises:
        SpecError: it has no solver to cut, or one that takes fewer steps anyway.
    """
    if budget is None:
        return network
    if not isinstance(network, EquilibriumNetwork):
        raise SpecError("the network solves nothing that a budget could cut; give `budgets = []`")
    if budget > network.solver.max_steps:
        raise SpecError(
            f"a client's budget of {budget} solver steps exceeds the network's own "
            f"{network.solver.max_steps}; expected at most those"
        )
    return network.replaced(solver=replace(network.solver, max_steps=budget))


def budget_of(network: Classifier) -> int:
    """Solver steps that it may take; 1 without a solver."""
    return network.deployment().budget or 1


def make_clients(entrant: Entrant, train: Split, classes: int) -> list[Client]:
    """Deal the training images; every image has one owner, the same one for ever (by the seed).

    Raises:
        SpecError: a client would have no image.
    """
    defense = entrant.defense
    assert isinstance(defense, Federated)
    noise, n = NoiseStream(entrant.seed).child("training", "split"), len(train)
    if n < defense.clients:
        raise SpecError(
            f"federated: {defense.clients} clients for {n} training images; expected at most {n}"
        )
    if defense.alpha is None:
        owners = torch.empty(n, dtype=torch.int64)
        owners[noise.permutation(n)] = torch.arange(n) % defense.clients
    else:
        owners = _skewed(train.labels.cpu(), classes, defense.clients, defense.alpha, noise)
    clients = []
    for number in range(defense.clients):
        rows = (owners == number).nonzero()[:, 0].to(train.images.device)
        if not len(rows):
            raise SpecError(
                f"federated: alpha {defense.alpha} leaves client {number} of {defense.clients} "
                f"without an image at seed {entrant.seed}; raise alpha or take fewer clients"
            )
        images = Split(train.images[rows], train.labels[rows])
        clients.append(Client(number, rows, images, defense.budget(number)))
    return clients


def shares(client_images: list[int], steps: int, rounds: int) -> list[list[int]]:
    """Gradient steps by round and client: `steps` in all, in proportion to the clients' images.

    Every client takes at least one step a round, so that a total of fewer than rounds * clients
    steps is exceeded.
    """
    seen, total, columns = 0, sum(client_images), []
    for n in client_images:
        own = steps * (seen + n) // total - steps * seen // total
        own, seen = max(own, rounds), seen + n
        columns.append([own * (r + 1) // rounds - own * r // rounds for r in range(rounds)])
    return [list(row) for row in zip(*columns, strict=True)]


def _chosen(step: int, n: int, size: int, noise: NoiseStream) -> tuple[int, Int[Tensor, " batch"]]:
    """The client's own epoch that a step falls into, and its batch: positions among n images."""
    epoch, place = divmod(step, -(-n // size))
    return epoch, noise.permutation(n, draw=epoch)[place * size : (place + 1) * size]


def _skewed(
    labels: Tensor, classes: int, clients: int, alpha: float, noise: NoiseStream
) -> Int[Tensor, " n"]:
    """Owners (n,): each class is cut into shares drawn from a symmetric Dirichlet distribution.

    Normalised gamma variates, by inversion of keyed uniform numbers.
    """
    uniform = noise.child("shares").uniform(torch.arange(classes), 0, (clients,)).numpy()
    gamma = gammaincinv(alpha, uniform.astype(np.float64) + 2.0**-25)
    ends = np.cumsum(gamma / gamma.sum(1, keepdims=True), axis=1)
    owners = torch.empty(len(labels), dtype=torch.int64)
    for label in range(classes):
        rows = (labels == label).nonzero()[:, 0]
        rows = rows[noise.child("class", label).permutation(len(rows))]
        places = (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
        found = np.searchsorted(ends[label], places).clip(max=clients - 1)
        owners[rows] = torch.from_numpy(found.astype(np.int64))
    return owners
