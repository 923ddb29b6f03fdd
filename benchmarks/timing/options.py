"""The options that several commands share."""

import argparse

import torch

from robustdeq.data.base import DataSet, DataSource
from robustdeq.spec import decode

DIGITS = "digits"


def add_data(parser: argparse.ArgumentParser) -> None:
    """`--data NAME --root PATH`."""
    parser.add_argument("--data", default=DIGITS, help="a data source, by name")
    parser.add_argument("--root", help="the folder of its files")


def add_device(parser: argparse.ArgumentParser) -> None:
    """`--device cpu` or `cuda`."""
    parser.add_argument("--device", type=_device, default="cpu", help="cpu (default) or cuda")


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("'cuda' is not available here; leave --device out")
    if name not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"{name!r}; expected cpu or cuda")
    return torch.device(name)


def load_data(name: str, root: str | None) -> DataSet:
    """The images that `--data` and `--root` ask for.

    Raises:
        UnknownName: there is no such source.
        SpecError: it takes no root.
        DataError: its files are missing or damaged.
    """
    return decode(DataSource, {"name": name} | ({"root": root} if root else {}), "--data").load()
