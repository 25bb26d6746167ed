import pytest

from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import Status
from marketstream.wire import messages, sse
from marketstream.wire.sse import SSE, UNCHUNKED, parse_cursor
from tests.support.builders import best_price


def stamped(frame: Frame, cursor: int = 77) -> Frame:
    """A frame as it comes from the bus."""
    frame.cursor = cursor
    return frame


def test_a_price_has_an_id_of_symbol_time_and_cursor() -> None:
    text = UNCHUNKED.render([stamped(messages.price(best_price("EUR/USD", at_ms=1_399_033_500_546)))])
    assert text.startswith(b"event: price\nid: EUR/USD-1399033500546@77\ndata: {")
    assert text.endswith(b"}\n\n")


@pytest.mark.parametrize(
    "frame",
    [
        stamped(messages.status(Status("AAPL", "stale", None, 5))),
        stamped(messages.heartbeat(5)),
        messages.error("X", "y"),
        messages.price(best_price()),
    ],
    ids=["status", "heartbeat", "error", "price that was never published"],
)
def test_nothing_but_a_published_price_has_an_id(frame: Frame) -> None:
    assert b"\nid:" not in SSE.render([frame])


def test_a_comment_is_no_event() -> None:
    assert UNCHUNKED.render([sse.COMMENT]) == b": \n"


def test_every_frame_of_a_stream_is_one_chunk() -> None:
    assert SSE.render([sse.COMMENT, messages.error("X", "y")]) == (
        b"3\r\n: \n\r\n" + b'2f\r\nevent: error\ndata: {"code":"X","message":"y"}\n\n\r\n'
    )


def test_several_arguments_are_one_list() -> None:
    assert UNCHUNKED.render([messages.custom("e", [1, 2])]) == b"event: e\ndata: [1,2]\n\n"
    assert UNCHUNKED.render([messages.custom("e", [])]) == b"event: e\ndata: []\n\n"


def test_the_name_of_an_event_cannot_end_it() -> None:
    assert UNCHUNKED.render([messages.custom("a\nb\r\nc", [1])]) == b"event: a b  c\ndata: 1\n\n"


@pytest.mark.parametrize(
    ("last_event_id", "cursor"),
    [
        ("EUR/USD-1399033500546@1399033500600123", 1_399_033_500_600_123),
        ("BRK-B-5@6", 6),
        ("A-5@0", 0),
        ("EUR/USD-1399033500546", None),
        *[
            (text, None)
            for text in ("", "A", "@5", "A@5", "A-@5", "A-5@", "A-5@x", "A-5@-1", "A-5@6 ", "-5@6")
        ],
        ("A" * 33 + "-5@6", None),
        ("A-5@" + "9" * 20, None),
    ],
)
def test_the_cursor_of_a_returning_client_is_read_or_there_is_none(
    last_event_id: str, cursor: int | None
) -> None:
    assert parse_cursor(last_event_id) == cursor


def test_a_client_is_told_when_to_come_back() -> None:
    """With the event that follows: a block of its own would be an event without data to several readers."""
    assert UNCHUNKED.render([sse.retry(1_500)]) == b"retry: 1500\n"
