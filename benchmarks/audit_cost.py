"""What does an audit cost, audit by audit?

    python -m benchmarks.audit_cost [CHAIN ...] [--images 25] [--seed 0] [--out FILE]

CPU seconds of the process, and counted evaluations of the cell, of one battery over committed
weights: the union first, then each audit with what it asks again under another seed. Evaluations
are the figure to compare: seconds are one machine's, and grow with its load. Finished entrants are
kept below `runs/audit-cost`.
"""

import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from benchmarks.kept import RUNS, fingerprint, kept
from benchmarks.pages import page_parser, parsed, publish
from robustdeq.audits.battery import examine
from robustdeq.defenses.base import DefendedModel
from robustdeq.evaluation.protocol import load_protocol
from robustdeq.models.deq import DEQClassifier
from robustdeq.notebook import load_model
from robustdeq.surface import Cost
from robustdeq.surfaces.network import counted_network

PROTOCOL = "digits-linf-v2"
CHAINS = ("adversarial-training/vanilla", "trades/vanilla", "vanilla")


class Meter:
    """CPU seconds and evaluations of each part of a battery; call it with the name of the next."""

    def __init__(self, cost: Cost):
        self._cost, self._part = cost, ""
        self.spent: dict[str, list[float]] = {}
        self._before = self._now()

    def __call__(self, part: str) -> None:
        now = self._now()
        if self._part:
            spent = self.spent.setdefault(self._part, [0.0, 0.0])
            for number, (after, before) in enumerate(zip(now, self._before, strict=True)):
                spent[number] += after - before
        self._part, self._before = part.partition(",")[0], now

    def _now(self) -> tuple[float, float]:
        return time.process_time(), float(self._cost.counts["forward"])


def measure(chain: str, options: Namespace) -> dict:
    """The parts of one battery, its flags, and the accuracy under the union."""
    cost = Cost()
    meter = Meter(cost)

    def load() -> DefendedModel:
        target = load_model(chain, options.results, PROTOCOL, options.seed)
        if not isinstance(target.classifier, DEQClassifier):
            return target
        return replace(target, classifier=counted_network(target.classifier, cost))

    protocol = load_protocol(PROTOCOL)
    test = protocol.load_data().test.take(options.images)
    report = examine(load, test.samples(), protocol.threat, meter)
    meter("")
    return {"spent": meter.spent, "flags": report.flags, "robust": report.robust}


def lines(chain: str, found: dict) -> list[str]:
    """A line for each part, and their sum."""
    columns = zip(*found["spent"].values(), strict=True)
    spent = {**found["spent"], "all": [sum(each) for each in columns]}
    flags = ", ".join(found["flags"]) or "-"
    return [
        f"| {chain} | {part} | {seconds:.1f} | {evaluations / 1000:,.0f} "
        f"| {flags if part == 'all' else ''} |"
        for part, (seconds, evaluations) in spent.items()
    ]


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("chains", nargs="*", default=CHAINS, metavar="CHAIN")
    parser.add_argument("--images", type=int, default=25, help="how many test images")
    parser.add_argument("--seed", type=int, default=0, help="training seed")
    parser.add_argument("--results", default="results", help="the store of the trained networks")
    parser.add_argument("--cache", type=Path, default=RUNS / "audit-cost")
    options = parsed(parser)
    table = []
    for chain in options.chains:
        network = load_model(chain, options.results, PROTOCOL, options.seed).classifier
        path = options.cache / f"{fingerprint(network)}-{options.images}.json"
        table += lines(chain, kept(path, lambda chain=chain: measure(chain, options)))
    head = "| entrant | part | CPU s | evaluations, thousands | flags |\n" + 5 * "|---" + "|"
    publish("\n".join(["# What an audit costs\n", head, *table]), options)


if __name__ == "__main__":
    main()
