"""`robustdeq audit`: can an entrant's figure be believed?"""

import argparse
import sys
from argparse import Namespace

from robustdeq.cli.options import (
    DEFAULT_PROTOCOL,
    add_compute,
    add_results,
    chosen_entries,
    data_of,
    growing_store,
    own_defenses,
    refuse_failures,
    tell_changes,
)

_ABOUT = """\
Run every audit on an entrant and say whether its figure can be believed.

Checked are the answer (does it depend on its image alone?), the gradient (is it that of the judged
logits?), and the attack (does it find what is known to be there, does noise or a search without
gradients beat it, does more of it help, does everything fall in a large enough ball?), the solver
(do labels hang on its budget?), and the memory (are the test images known by heart?). What raises a
flag is asked again under another seed. An entrant that is not trained yet is trained first.

The verdict is one of: trustworthy; suspicious, with the blocking flags; not evaluable, where the
answer is no function of the image. The record is stored, and boards show its flags. An interrupted
audit goes on with the same command, test by test.
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "audit", help="say whether an entrant's robustness can be believed",
        description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("entrant", nargs="?", metavar="ENTRANT", help="a chain: trades/vanilla")
    parser.add_argument(
        "--protocol", default=DEFAULT_PROTOCOL, metavar="PROTOCOL",
        help=f"whose data and threat (default: {DEFAULT_PROTOCOL})",
    )  # fmt: skip
    parser.add_argument(
        "--images",
        type=int,
        default=100,
        metavar="N",
        help="how many test images, chosen at random (default: 100)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="S", help="training seed (default: the protocol's first)"
    )
    parser.add_argument(
        "--attack-seed", type=int, default=0, metavar="S",
        help="seed of the attacks; what raises a flag is asked again under S + 1 (default: 0)",
    )  # fmt: skip
    parser.add_argument("--again", action="store_true", help="audit once more")
    add_results(parser)
    add_compute(parser)
    parser.set_defaults(command=_audit)


def _audit(options: Namespace) -> int:
    from dataclasses import replace

    from robustdeq.audits.battery import own_audits
    from robustdeq.cli.display import chosen_display
    from robustdeq.engines.local import place
    from robustdeq.engines.matrix import fill
    from robustdeq.engines.row import Row
    from robustdeq.errors import SpecError
    from robustdeq.evaluation.column import Column
    from robustdeq.evaluation.protocol import load_protocol
    from robustdeq.evaluation.trial import Trial
    from robustdeq.results.formats.markdown import to_markdown
    from robustdeq.results.reports.audit import audit_page

    own = own_defenses(options.plugin)
    if options.entrant is None and not own:
        raise SpecError("no entrant to audit; give a chain such as trades/vanilla, or --plugin")
    attacks = (options.attack_seed, options.attack_seed + 1)
    column = Column(
        "audit", (), attacks, options.images, goal="audit", order="shuffled", audits=own_audits()
    )
    protocol = replace(load_protocol(options.protocol), columns=(column,), adaptive=None)
    data = data_of(protocol)
    images = len(data.test)
    display = chosen_display(options.quiet)
    where = place(options.device, options.workers, options.threads, options.plugin, display)
    store = growing_store(options.results)
    entries = chosen_entries([options.entrant] if options.entrant else [], own, options.protocol)
    settings = (options.results, where.device, options.again)
    seed = protocol.training_seeds[0] if options.seed is None else options.seed
    for entry in entries:
        audited = replace(protocol.entered(entry.entrant, data), seed=seed)
        tell_changes(store, [audited])
        row = Row(protocol, audited, *settings)
        refuse_failures(fill([row], images, where, lambda entrant: None))
        trial = Trial(audited, column, protocol.slice(images), protocol.threat)
        sys.stdout.write(to_markdown(audit_page(store, trial.id)))
    return 0
