"""`python -m robustdeq` is the command `robustdeq`."""

import sys

from robustdeq.cli import main

sys.exit(main())
