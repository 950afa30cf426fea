"""Tables in terminals that are wide enough, and in those that are not."""

from io import StringIO

import pytest
from rich.console import Console

from serve_app.terminal.table import Table, print_table


def printed(table: Table, width: int) -> list[str]:
    text = StringIO()
    print_table(table, Console(file=text, width=width))
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_a_table_by_hand() -> None:
    cells = (("a long name of a row", "0.5000 [0.4000, 0.6000]", "x"), ("b", "0.1", "y"))
    table = Table("Title", ("name", "AUC", "less important"), cells, note="Note.", optional=(2,))
    assert printed(table, 60) == [
        "",
        "Title",
        "                                                    less",
        "name                                      AUC  important",
        "a long name of a row  0.5000 [0.4000, 0.6000]          x",
        "b                                         0.1          y",
        "Note.",
    ]
    assert printed(table, 40) == [
        "",
        "Title",
        "name                               AUC",
        "a long name of a row            0.5000",
        "                      [0.4000, 0.6000]",
        "b                                  0.1",
        "Note. Too wide for this terminal, but in",
        "--json: less important.",
    ]


@pytest.mark.parametrize("width", [30, 50])
def test_words_are_broken_between_words_only(width: int) -> None:
    rows = (("several words of a name", "1.5"), ("one", "2"))
    lines = printed(Table("", ("name", "value"), rows), width)
    words = [word for line in lines for word in line.split()]
    assert words.count("several") == words.count("words") == words.count("name") - 1 == 1
