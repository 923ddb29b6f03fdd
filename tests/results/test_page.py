"""Pages, and what of a name or a note may reach the reader of a format."""

import pytest

from robustdeq.results.formats.markdown import to_markdown
from robustdeq.results.page import Bullets, Heading, Page, Table, Text


def test_a_page_is_its_blocks_in_order_without_those_that_say_nothing():
    page = Page.of(
        Heading("Title"), Text(""), Bullets(()), Heading("Part", 2), Text("A paragraph."),
        Table(("who", "n"), (("a", "1"), ("long", "23")), left=("who",)), Bullets(("one", "two")),
    )  # fmt: skip
    assert to_markdown(page) == (
        "# Title\n\n## Part\n\nA paragraph.\n\n"
        "| who  |  n |\n| ---- | -: |\n| a    |  1 |\n| long | 23 |\n\n- one\n- two\n"
    )


def test_a_table_has_the_cells_that_its_columns_say():
    table = Table.of([3, 4], {"n": str, "square": lambda n: str(n * n)}, left=("n",))
    assert table == Table(("n", "square"), (("3", "9"), ("4", "16")), left=("n",))


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("a|b", "a\\|b"),
        ("two\nlines", "two lines"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("back\rspace\x08", "back\\rspace\\x08"),
        ("line\u2028end", "line\\u2028end"),
        ("p < 0.001", "p < 0.001"),
    ],
)
def test_a_cell_stays_one_cell(name, seen):
    text = to_markdown(Page.of(Table(("who", "n"), ((name, "1"),), left=("who",))))
    row = text.splitlines()[2]
    assert row == f"| {seen} | 1 |"
    assert len(text.splitlines()) == 3


@pytest.mark.parametrize("block", [Heading, Text, lambda text: Bullets((text,))])
def test_no_block_lets_a_tag_or_a_control_code_through(block):
    text = to_markdown(Page.of(block("<b>\x1b[2J\x9b")))
    assert "<b" not in text
    assert text.isprintable() or text.replace("\n", "").isprintable()


@pytest.mark.parametrize("block", [Heading, lambda text: Bullets((text,))])
def test_a_title_and_a_remark_stay_on_one_line(block):
    assert len(to_markdown(Page.of(block("a\n# b"))).splitlines()) == 1
