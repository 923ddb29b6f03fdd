"""A zoo of impostors: defenses that look robust and are not, one trick per file."""

from robustdeq.testing.impostors.base import Form as Form
from robustdeq.testing.impostors.base import Impostor as Impostor
from robustdeq.testing.impostors.zoo import ZOO as ZOO
