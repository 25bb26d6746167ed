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
