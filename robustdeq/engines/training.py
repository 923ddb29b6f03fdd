"""The training of an entrant as a job of its own, without an evaluation."""

from dataclasses import dataclass
from pathlib import Path

import torch

from robustdeq.engines.outcome import Outcome, bar_line, failed
from robustdeq.entrant import Entrant
from robustdeq.errors import StoreError
from robustdeq.evaluation.protocol import Protocol
from robustdeq.results.store import ResultStore
from robustdeq.training.trained import ensure_trained


@dataclass(frozen=True)
class Training:
    """A job that makes an entrant's weights on a protocol's data, and can be killed."""

    protocol: Protocol
    entrant: Entrant
    results: Path
    device: str
    progress: bool = True

    def run(self) -> Outcome:
        """Train, or go on; a finished training is loaded and kept.

        Raises:
            DataError, StoreError: no job on any entrant could succeed.
        """
        data, store = self.protocol.load_data(), ResultStore(self.results)
        entrant, device = self.entrant, torch.device(self.device)
        try:
            ensure_trained(store, entrant, data, device, bar_line(self.progress))
        except StoreError:
            raise
        except Exception as error:
            return Outcome(entrant, (failed(f"train {entrant.chain}", error),))
        return Outcome(entrant, failures=())
