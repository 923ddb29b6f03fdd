"""`python -m robustdeq` is the command `robustdeq`."""

import sys

from robustdeq.cli.supervised import entry

if __name__ == "__main__":
    sys.exit(entry())
