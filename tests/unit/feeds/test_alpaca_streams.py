"""Which streams a connection asks for, whatever happens meanwhile."""

from collections.abc import Mapping

from structlog.testing import capture_logs

from marketstream.feeds.alpaca_streams import Streams
from marketstream.wire.vendors.alpaca_request import Request

CHANNELS = ("quotes", "trades")


def streams(room: int | None = 30, held: frozenset[str] = frozenset()) -> Streams:
    """A new connection on two channels."""
    return Streams("alpaca-iex", CHANNELS, room, held)


def on(*symbols: str) -> Mapping[str, frozenset[str]]:
    """Symbols on both channels, as they are confirmed."""
    return {channel: frozenset(symbols) for channel in CHANNELS}


def asked(request: Request | None) -> tuple[str, set[str]]:
    """What a request does, to which symbols."""
    assert request is not None
    return request.action, set().union(*request.streams.values())


def test_nothing_is_asked_for_before_the_interest_is_known() -> None:
    """Else a new connection would give away the places of the one before."""
    connection = streams(held=frozenset({"Z"}))
    assert connection.next() is None
    assert connection.chosen == {"Z"}


def test_one_request_is_under_way_at_a_time() -> None:
    connection = streams()
    connection.want(frozenset({"A"}))
    assert asked(connection.next()) == ("subscribe", {"A"})
    connection.want(frozenset({"B"}))
    assert connection.next() is None
    connection.confirm(on("A"))
    assert asked(connection.next()) == ("unsubscribe", {"A"})
    connection.confirm(on())
    assert asked(connection.next()) == ("subscribe", {"B"})
    connection.confirm(on("B"))
    assert connection.next() is None
    assert connection.symbols == {"B"}


def test_who_comes_back_before_the_answer_costs_nothing() -> None:
    connection = streams()
    connection.want(frozenset({"A"}))
    connection.next()
    connection.want(frozenset())
    connection.want(frozenset({"A"}))
    connection.confirm(on("A"))
    assert connection.next() is None


def test_symbols_that_do_not_fit_are_left_out_and_named() -> None:
    with capture_logs() as logs:
        connection = streams(room=5)
        connection.want(frozenset({"C", "B", "A", "EUR/USD"}))
    assert connection.chosen == {"A", "B"}
    assert connection.left_out == {"C"}
    assert [(entry["event"], entry["count"], entry["symbols"]) for entry in logs] == [
        ("feed_symbols_left_out", 1, ["C"])
    ]
    connection.want(frozenset({"C", "B"}))
    assert connection.left_out == frozenset()


def test_a_new_connection_gives_room_to_those_that_had_it() -> None:
    connection = streams(room=4, held=frozenset({"Y", "Z"}))
    connection.want(frozenset({"A", "B", "Y", "Z"}))
    assert connection.chosen == {"Y", "Z"}


def test_a_request_that_was_too_much_is_halved_until_it_fits() -> None:
    connection = streams(room=None)
    connection.want(frozenset("ABCDEFGHIJ"))
    sizes = []
    while (request := connection.next()) is not None:
        sizes.append(len(request))
        symbols = {symbol for each in request.streams.values() for symbol in each} | connection.symbols
        if len(symbols) * 2 > 6:
            assert connection.refuse()
        else:
            connection.confirm(on(*symbols))
    assert sizes == [20, 10, 4]
    assert connection.symbols == {"A", "B"}
    assert connection.left_out == set("CDEFGHIJ")


def test_what_was_confirmed_keeps_its_place_when_more_is_refused() -> None:
    connection = streams(room=None)
    connection.want(frozenset({"Y"}))
    connection.next()
    connection.confirm(on("Y"))
    connection.want(frozenset({"A", "Y"}))
    connection.next()
    assert connection.refuse()
    assert connection.chosen == {"Y"}
    assert connection.next() is None


def test_a_refusal_of_nothing_is_none() -> None:
    connection = streams()
    assert not connection.refuse()
    connection.want(frozenset({"A"}))
    connection.next()
    connection.confirm(on("A"))
    connection.want(frozenset())
    connection.next()
    assert not connection.refuse(), "to give something back cannot be too much"


def test_what_the_vendor_leaves_out_without_a_word_is_not_asked_for_again() -> None:
    connection = streams(room=4)
    connection.want(frozenset({"A", "B", "C"}))
    connection.next()
    with capture_logs() as logs:
        assert connection.confirm(on("B"))
    assert next(entry["event"] for entry in logs) == "feed_symbols_declined"
    assert asked(connection.next()) == ("subscribe", {"C"})
    connection.confirm(on("B", "C"))
    assert connection.next() is None
    connection.want(frozenset({"B"}))
    connection.next()
    connection.confirm(on("B"))
    connection.want(frozenset({"A", "B"}))
    assert asked(connection.next()) == ("subscribe", {"A"}), "who asks anew is heard anew"


def test_a_vendor_that_keeps_what_was_given_back_is_not_trusted() -> None:
    connection = streams()
    connection.want(frozenset({"A"}))
    connection.next()
    assert connection.confirm(on("A"))
    connection.want(frozenset())
    connection.next()
    assert not connection.confirm(on("A"))


def test_an_acknowledgement_that_nobody_asked_for_is_believed() -> None:
    connection = streams()
    connection.want(frozenset({"A"}))
    assert connection.confirm(on("B"))
    assert asked(connection.next()) == ("unsubscribe", {"B"})
    assert len(connection) == 2


def test_what_is_left_out_and_what_is_declined_is_lacking_until_nobody_wants_it() -> None:
    connection = streams(room=4)
    connection.want(frozenset({"A", "B", "C"}))
    assert connection.lacking == {"C"}
    connection.next()
    connection.confirm(on("B"))
    assert connection.chosen == {"B", "C"}
    assert connection.lacking == {"A"}
    connection.want(frozenset({"B"}))
    assert not connection.lacking
