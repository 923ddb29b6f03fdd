"""An attack from outside: one small file, the one that CONTRIBUTING.md shows."""

import re
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from toys import Linear, ToySurface, confirmed, images

from robustdeq import homes, registry
from robustdeq.attacks.approach import Approach
from robustdeq.attacks.base import Attack
from robustdeq.errors import SpecError
from robustdeq.noise import NoiseStream
from robustdeq.objectives.base import View
from robustdeq.objectives.margin import Margin
from robustdeq.samples import Samples
from robustdeq.threats.linf import Linf

CONTRIBUTING = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
THREAT = Linf(Fraction(1, 10))


def shown(tmp_path):
    """The attack of the document, as a lone file."""
    (code,) = re.findall(r"^  ```python\n(.*?)^  ```$", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    path = tmp_path / "three_climbs.py"
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    sys.modules.pop(f"{homes.LONE}.three_climbs", None)
    assert registry.load_file(path) == [("attacks", "three-climbs")]
    return registry.find("attacks", "three-climbs")()


def test_it_reaches_the_worst_corner_of_a_linear_model(tmp_path):
    """Two classes: the margin has one gradient everywhere, and ten fifths cross the ball."""
    linear = Linear(2, (1, 4, 4))
    x = images(6, (1, 4, 4))
    samples = Samples.of(x, linear(x).argmax(1))
    surface = ToySurface(linear)
    found = shown(tmp_path).perturb(Approach(surface), samples, THREAT, NoiseStream(0))
    margin = Margin()(View(linear(found[0])), samples.labels)
    torch.testing.assert_close(margin, linear.worst_margin_linf(x, samples.labels, 0.1))
    assert surface.cost.counts["vjp"] == len(x) * 3 * 10


def test_it_stops_where_a_sample_is_broken(tmp_path):
    linear = Linear(2, (1, 4, 4))
    x = images(6, (1, 4, 4))
    samples = Samples.of(x, 1 - linear(x).argmax(1))  # all broken at the first look
    surface = ToySurface(linear)
    shown(tmp_path).perturb(confirmed(surface), samples, Linf(Fraction(1, 10**6)), NoiseStream(0))
    assert surface.cost.counts["vjp"] == len(x)


def test_a_file_that_still_answers_by_itself_says_what_to_write():
    """What it returned would have gone past all checks of candidates."""
    with pytest.raises(SpecError, match=r"attack Old defines `perturb`.*`run\(self, search\)`"):

        class Old(Attack):
            def perturb(self, approach, samples, threat, noise):
                return samples.images
