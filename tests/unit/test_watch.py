import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from marketstream.watch import Board, Row, line
from marketstream_sdk import Quote, RequestError, Side, StreamStatus, SubscriptionError, SymbolStatus

AT = 1_700_000_000_250
URL = "http://127.0.0.1:8080"


def quote(mid: float | None = 1.3864, symbol: str = "EUR/USD") -> Quote:
    return Quote(symbol, Side(1.3863, 5.0, "ebs"), Side(1.38650, None, "lmax"), mid, 0.00005, 1.4426, AT)


def status(state: str = "connected") -> StreamStatus:
    lost = RequestError("it broke") if state == "reconnecting" else None
    return StreamStatus(state, state == "connected", (), (), 0, 1, 3, lost)  # type: ignore[arg-type]


def shown(board: Board, state: str = "connected") -> list[str]:
    console = Console(width=120, no_color=True)
    with console.capture() as capture:
        console.print(board.render(status(state), URL, AT + 1_500))
    return [text.rstrip() for text in capture.get().splitlines()]


def test_a_quote_is_a_line_of_words_that_a_script_can_cut() -> None:
    assert line(quote()) == "22:13:20.250Z EUR/USD 1.3863 ebs 1.3865 lmax 1.3864 0.00005 1.4426"


def test_what_is_missing_is_a_dash() -> None:
    empty = Quote("A", None, None, None, None, None, AT)
    assert line(empty) == "22:13:20.250Z A - - - - -"


def test_a_row_points_to_where_the_price_went_and_keeps_pointing() -> None:
    row = Row()
    changes = []
    for mid in (None, 1.0, 1.0, 2.0, 2.0, 1.5):
        row.take(quote(mid))
        changes.append(row.change)
    # Without a middle the bid counts, which is above 1.
    assert changes == [0, -1, -1, 1, 1, -1]


def test_the_table_has_a_row_for_each_symbol_from_the_beginning() -> None:
    board = Board(["EUR/USD", "AAPL"])
    board.take(quote())
    text = shown(board)
    [first] = [row for row in text if "EUR/USD" in row]
    for cell in ("1.3863 ebs", "1.3865 lmax", "1.3864", "0.00005", "1.4426", "1.5s"):
        assert cell in first
    assert any("AAPL" in row and "-" in row for row in text)
    assert text[-1] == f"connected  {URL}"


def test_the_table_says_what_is_wrong_with_a_symbol_until_it_is_not() -> None:
    board = Board(["A", "B"])
    board.note(SymbolStatus("A", "stale", None, AT))
    board.refuse(SubscriptionError("B", "not entitled"))
    board.refuse(RequestError("of no symbol"))
    text = "\n".join(shown(board))
    assert "stale" in text
    assert "not entitled" in text
    board.note(SymbolStatus("A", "live", "x", AT))
    assert "stale" not in "\n".join(shown(board))


def test_the_line_below_says_why_there_is_no_connection() -> None:
    assert shown(Board(["A"]), "reconnecting")[-1] == f"reconnecting  {URL}  attempt 3: it broke"


EVIL = [
    "\x1b]0;title\x07\x1b[2J\x1b[31mred",
    "\x9b31m\x90payload\x9c",
    "\u202ereversed\u2066",
    "half \ud83d of it",
    "line\nbreak\rreturn\ttab\x00nul\x08back",
    "[bold red]markup[/bold red] [/]",
    "[link=https://evil.test]click[/link]",
    "銀行" * 30,
    "e\u0301\u0301\u0301\u200b\ufeff",
    ":smile:",
]


def named(source: str) -> Quote:
    return Quote(source, Side(1.0, None, source), Side(2.0, None, source), 1.5, 1.0, 1.0, AT)


def assert_harmless(text: str) -> None:
    assert [char for char in text if not char.isprintable() and char != "\n"] == []
    text.encode()


@pytest.mark.parametrize("source", EVIL)
def test_nothing_of_what_a_source_is_called_is_obeyed(source: str) -> None:
    board = Board([source])
    board.take(named(source))
    board.note(SymbolStatus(source, source, None, AT))
    board.refuse(SubscriptionError(source, source))
    lost = StreamStatus("reconnecting", False, (), (), 0, 1, 3, RequestError(source))
    for terminal in (False, True):
        console = Console(width=60, force_terminal=terminal, color_system=None, legacy_windows=False)
        with console.capture() as capture:
            console.print(board.render(lost, URL, AT))
        assert_harmless(capture.get())
    assert_harmless(line(named(source)))
    assert "\n" not in line(named(source))


def test_markup_is_text() -> None:
    board = Board([])
    board.take(Quote("A", Side(1.0, None, "[bold]x[/bold]"), None, None, None, None, AT))
    assert any("1 [bold]x[/bold]" in row for row in shown(board))


@given(st.text(st.characters(), max_size=64))
@example(":warning:")
def test_any_text_can_be_watched(source: str) -> None:
    board = Board([source])
    board.take(named(source))
    assert_harmless("\n".join(shown(board)))
    assert_harmless(line(named(source)))


@pytest.mark.parametrize("number", [10**400, float("nan"), float("inf"), -(10**400), 1e308])
def test_figures_that_make_no_sense_are_survived(number: float) -> None:
    board = Board(["A"])
    absurd = Quote("A", Side(number, number, "x"), None, number, number, number, 10**30)
    board.take(absurd)
    assert_harmless("\n".join(shown(board)))
    assert line(absurd).startswith("? A ")


def test_the_address_is_shown_without_its_password() -> None:
    board = Board(["A"])
    console = Console(width=120, no_color=True)
    with console.capture() as capture:
        console.print(board.render(status(), "http://user:s3cr3t@host", AT))
    assert "s3cr3t" not in capture.get()
