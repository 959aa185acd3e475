"""A terminal obeys nothing that a record says."""

from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from gpusmoke.presentation.plain import plain
from gpusmoke.presentation.terminal import Page


@given(st.text(st.characters()))
def test_what_is_plain_is_as_long_as_before_and_on_one_line(text):
    shown = plain(text)
    assert len(shown) == len(text)
    assert len(f"{shown}.".splitlines()) == 1
    shown.encode()


def test_what_can_be_read_stays_as_it_is():
    text = "node-1: 30.0 % slower; \u00e4\u4e2d\U0001f600 \ufffd \\x1b[31m"
    assert plain(text) == text


def test_a_page_has_its_own_colours_and_nobody_else_s():
    page = Page()
    page.colour = True
    page.add("\x1b[32mgreen\x1b[0m", "red", mark="\x1b[2Jmark ", marked="dim")
    own = "\x1b[2m\ufffd[2Jmark \x1b[0m\x1b[1;31m\ufffd[32mgreen\ufffd[0m\x1b[0m\n"
    assert page.text() == own


def test_cells_of_a_table_are_no_markup():
    table, page = Table("what"), Page()
    table.add_row("[/x] [bold]a[/bold] :smile:")
    page.draw(table, 80)
    assert "[/x] [bold]a[/bold] :smile:" in page.text()
