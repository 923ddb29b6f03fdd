"""The pages of docs/ name what is there."""

import re
from pathlib import Path

import pytest

import robustdeq
from robustdeq.kinds import CONTRACTS

PACKAGE = Path(robustdeq.__file__).parent
ROOT = PACKAGE.parent
PAGES = sorted(ROOT.glob("docs/**/*.md"))
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_that_a_page_names_exists(page):
    named = re.findall(r"[\w*]+(?:/[\w*]+)+\.py", page.read_text(encoding="utf-8"))
    places = (PACKAGE, ROOT)
    assert [name for name in named if not any(any(top.glob(name)) for top in places)] == []


@pytest.mark.parametrize("kind", CONTRACTS)
def test_the_architecture_says_where_a_plug_in_of_every_kind_goes(kind):
    _, _, table = ARCHITECTURE.partition("## Where a new piece goes")
    assert f"{kind}/`" in table


def test_a_word_stands_in_the_glossary_once():
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^\| ([^|]+?) \|", page, flags=re.MULTILINE)
    said = [word for cell in words if cell not in ("word", "---") for word in cell.split(", ")]
    assert len(said) == len(set(said)) > 40
