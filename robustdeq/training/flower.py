"""The federated loop on Flower: the same client step and the same fusion, in other processes.

Flower (Beutel et al. 2020, "Flower: A Friendly Federated Learning Research Framework") carries the
messages; nothing is computed here. Needs the extra `federated`.
"""

import importlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from robustdeq.data.base import DataSet
from robustdeq.defenses.base import Task
from robustdeq.defenses.federated import Federated
from robustdeq.defenses.fusion import Report
from robustdeq.entrant import Entrant
from robustdeq.errors import SpecError
from robustdeq.models.base import Classifier
from robustdeq.spec import decode, encode
from robustdeq.training.clients import Update, Work, client_update, make_clients
from robustdeq.training.loops.federated import train


def simulate(entrant: Entrant, data: DataSet) -> tuple[Classifier, list[dict[str, Any]]]:
    """Train as `loops.federated.train` does, bit for bit, every client in a process of Flower's.

    What a client's defense keeps from step to step travels with the messages here, so that the
    server can write it down; on real devices it would stay where it is.

    Raises:
        SpecError: Flower is not installed, or a client failed.
    """
    defense = entrant.defense
    assert isinstance(defense, Federated)
    try:
        apps = [importlib.import_module(f"flwr.{name}") for name in ("serverapp", "clientapp")]
        simulation = importlib.import_module("flwr.simulation")
    except ImportError as error:
        raise SpecError(
            f"Flower cannot be imported ({error}); install the extra: pip install "
            f"'robustdeq[federated]'"
        ) from None
    server, client = apps[0].ServerApp(), apps[1].ClientApp()
    client.train()(_Handler(json.dumps(encode(entrant)), data))
    found = []

    @server.main()
    def _serve(grid, context):
        def engine(entrant, task, clients, weights, works, memories):
            return _exchange(grid, weights, works, memories)

        found.append(train(entrant, data, torch.device("cpu"), engine=engine))

    simulation.run_simulation(
        server_app=server, client_app=client, num_supernodes=defense.clients,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )  # fmt: skip
    if not found:
        raise SpecError(f"{entrant.chain}: Flower's server ended early; its log says why")
    return found[0]


@dataclass(frozen=True, eq=False)
class _Handler:
    """A client's end; its images are those that the seed deals to its number."""

    entrant: str
    data: DataSet

    def __call__(self, message, context):
        app = importlib.import_module("flwr.app")
        facts = json.loads(message.content["facts"]["json"])
        torch.set_num_threads(facts["threads"])
        entrant = decode(Entrant, json.loads(self.entrant))
        client = make_clients(entrant, self.data.train, self.data.classes)[facts["client"]]
        task, work = Task(self.data.shape, self.data.classes), Work(**facts["work"])
        weights, memory = (_tensors(message.content[name]) for name in ("weights", "memory"))
        update = client_update(entrant, task, client, weights, work, memory)
        sent = {"loss": update.loss, "report": asdict(update.report)}
        return app.Message(_content(update.weights, memory, sent), reply_to=message)


def _exchange(grid, weights, works, memories) -> list[Update]:
    """One round: a message to every node, and the answers, each with the number of its client."""
    app = importlib.import_module("flwr.app")
    nodes = sorted(grid.get_node_ids())
    facts = [
        {"client": i, "work": asdict(work), "threads": torch.get_num_threads()}
        for i, work in enumerate(works)
    ]
    messages = [
        app.Message(_content(weights, memory, fact), dst_node_id=node, message_type="train")
        for node, memory, fact in zip(nodes, memories, facts, strict=True)
    ]
    updates = []
    for reply in grid.send_and_receive(messages):
        if reply.has_error():
            raise SpecError(f"a federated client failed in Flower: {reply.error.reason}")
        sent = json.loads(reply.content["facts"]["json"])
        report = Report(**sent["report"])
        memories[report.client].update(_tensors(reply.content["memory"]))
        updates.append(Update(report, _tensors(reply.content["weights"]), sent["loss"]))
    return updates


def _content(weights: dict[str, Tensor], memory: dict[str, Tensor], facts: dict[str, Any]):
    app = importlib.import_module("flwr.app")
    return app.RecordDict({
        "weights": app.ArrayRecord(torch_state_dict=weights),
        "memory": app.ArrayRecord(torch_state_dict=memory),
        "facts": app.ConfigRecord({"json": json.dumps(facts)}),
    })  # fmt: skip


def _tensors(record) -> dict[str, Tensor]:
    return dict(record.to_torch_state_dict())
