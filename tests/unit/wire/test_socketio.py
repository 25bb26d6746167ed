import pytest

from marketstream.core.delivery.frame import Frame
from marketstream.errors import AuthFailedError, FeedError, InvalidMessageError, RateLimitedError
from marketstream.wire import messages
from marketstream.wire import socketio as wire
from marketstream.wire.dialect import Dialect
from marketstream.wire.socketio import Packet, parse


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ('0/market-data,{"token":"t"}', Packet("connect", "/market-data", None, '{"token":"t"}')),
        ("0/market-data,", Packet("connect", "/market-data", None, "")),
        ("0/market-data", Packet("connect", "/market-data", None, "")),
        ("0", Packet("connect", "/", None, "")),
        ("0/market-data?token=t,", Packet("connect", "/market-data", None, "")),
        ("1/market-data,", Packet("disconnect", "/market-data", None, "")),
        ('2/market-data,["ping"]', Packet("event", "/market-data", None, '["ping"]')),
        ('2/market-data,12["ping",{}]', Packet("event", "/market-data", 12, '["ping",{}]')),
        ('2["ping"]', Packet("event", "/", None, '["ping"]')),
        ("20[]", Packet("event", "/", 0, "[]")),
        ("3/market-data,5[]", Packet("ack", "/market-data", 5, "[]")),
        ('4/market-data,"no"', Packet("error", "/market-data", None, '"no"')),
        (
            '51-/market-data,7["x",{"_placeholder":true}]',
            Packet("binary event", "/market-data", 7, '["x",{"_placeholder":true}]'),
        ),
        ("61-/market-data,7[]", Packet("binary ack", "/market-data", 7, "[]")),
    ],
)
def test_a_packet_is_read_in_its_parts(text: str, packet: Packet) -> None:
    assert parse(text) == packet


@pytest.mark.parametrize("text", ["", "7", "x", "-1", "٣", "2/market-data," + "1" * 21 + '["ping"]'])
def test_what_is_no_packet_is_refused(text: str) -> None:
    with pytest.raises(InvalidMessageError):
        parse(text)


@pytest.mark.parametrize("kind", ["2", "3"])
@pytest.mark.parametrize(
    "body",
    [
        *(
            "",
            "{}",
            '"ping"',
            "[",
            '["ping"',
            '["a"]x',
            '["\\ud83d"]',
            "[NaN]",
            "[-Infinity]",
            "[1e400]",
            "[01]",
        ),
        "[" * 100_000,
        '["ping",' + "[" * 2_000 + "]" * 2_000 + "]",
    ],
)
def test_the_id_of_a_call_is_read_whatever_came_with_it(kind: str, body: str) -> None:
    packet = parse(f"{kind}/market-data,12{body}")
    assert packet.ack == 12
    with pytest.raises(InvalidMessageError):
        packet.read()


def test_a_frame_is_wrapped_once_for_each_dialect() -> None:
    """Bytes are made once, whatever the number of clients."""
    wrapped: list[Frame] = []

    def wrap(frame: Frame) -> bytes:
        wrapped.append(frame)
        return frame.body

    one, two = Dialect("one", wrap), Dialect("two", wrap, b"|")
    frame = messages.heartbeat(1)
    assert [one.render([frame, frame]), one.render([frame])] == [frame.body * 2, frame.body]
    assert two.render([frame, frame]) == frame.body + b"|" + frame.body
    assert len(wrapped) == 2


def test_an_event_has_as_many_arguments_as_it_was_given() -> None:
    frames = [messages.custom("e", arguments) for arguments in ([], [1], [1, "two", None])]
    assert wire.POLLING.render(frames).split(wire.SEPARATOR) == [
        b'42/market-data,["e"]',
        b'42/market-data,["e",1]',
        b'42/market-data,["e",1,"two",null]',
    ]


def test_a_websocket_frame_holds_the_same_packet() -> None:
    frame = messages.heartbeat(5)
    text = wire.POLLING.render([frame])
    assert wire.WEBSOCKET.render([frame]) == b"\x81" + bytes([len(text)]) + text


def test_a_call_of_the_server_asks_for_an_answer() -> None:
    assert wire.call(7, messages.custom("ask", [{"a": 1}])).body == b'42/market-data,7["ask",{"a":1}]'


def test_a_refusal_goes_to_the_namespace_that_was_asked_for() -> None:
    assert wire.connect_error("/", "no", "X").body == b'44{"message":"no","data":{"code":"X"}}'
    assert wire.connect_error("/x", "no", "X").body == b'44/x,{"message":"no","data":{"code":"X"}}'


def test_the_first_packet_tells_times_in_milliseconds() -> None:
    packet = wire.open_packet("s", upgrades=["websocket"], ping_interval=2.5, ping_timeout=0.02, limit=9)
    assert packet.body == (
        b'0{"sid":"s","upgrades":["websocket"],"pingInterval":2500,"pingTimeout":20,"maxPayload":9}'
    )


def test_an_error_is_told_with_its_code_and_a_limit_with_when_to_come_back() -> None:
    assert wire.render_error(AuthFailedError("bad")) == b'{"error":"bad","code":"AUTH_FAILED"}'
    assert wire.render_error(RateLimitedError(250)) == (
        b'{"error":"Rate limit exceeded","code":"RATE_LIMITED","retryAfterMs":250}'
    )


def test_what_went_wrong_inside_stays_inside() -> None:
    assert (
        wire.render_error(FeedError("password=hunter2")) == b'{"error":"internal error","code":"FEED_FAILED"}'
    )
