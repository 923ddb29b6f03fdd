"""The contract of a report."""

from abc import ABC, abstractmethod
from typing import ClassVar

from robustdeq.registry import Plugin
from robustdeq.results.page import Page
from robustdeq.results.store.result_store import ResultStore


class Report(Plugin, ABC):
    """A page about all entrants, computed from their records: `robustdeq report --of NAME`.

    A frozen dataclass without fields. It reads the store and changes nothing; whatever it shows is
    a figure of a record, or follows from some.

    Attributes:
        across: whether it can tell of all protocols at once, and does so where none is named; else
            it gets the one that is named, or the only one there.
    """

    kind: ClassVar[str] = "reports"
    across: ClassVar[bool] = False

    @abstractmethod
    def page(self, store: ResultStore, protocol: str) -> Page:
        """The page on a protocol of the store; "" stands for all, where the report goes `across`.

        Raises:
            UnknownName: the store has no such protocol.
            StoreError: it holds nothing to tell of, or a record is damaged.
        """
