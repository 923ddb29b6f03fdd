"""The options that several commands share."""

import argparse

from robustdeq.data.base import DataSet, DataSource
from robustdeq.spec import decode

DIGITS = "digits"


def add_data(parser: argparse.ArgumentParser) -> None:
    """`--data NAME --root PATH`."""
    parser.add_argument("--data", default=DIGITS, help="a data source, by name")
    parser.add_argument("--root", help="the folder of its files")


def load_data(name: str, root: str | None) -> DataSet:
    """The images that `--data` and `--root` ask for.

    Raises:
        UnknownName: there is no such source.
        SpecError: it takes no root.
        DataError: its files are missing or damaged.
    """
    return decode(DataSource, {"name": name} | ({"root": root} if root else {}), "--data").load()
