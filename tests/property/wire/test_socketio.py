import json
from contextlib import suppress
from typing import Any

import pytest
import socketio
from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.delivery.frame import Frame
from marketstream.errors import InvalidMessageError
from marketstream.wire import messages
from marketstream.wire import socketio as wire
from tests.support.builders import HOSTILE, JSON

NAMESPACES = st.sampled_from(["/", "/market-data", "/other"])
KINDS = {0: "connect", 1: "disconnect", 2: "event", 3: "ack"}
EVENTS = st.lists(JSON, max_size=3).map(lambda rest: ["e", *rest])
IDS = st.none() | st.integers(0, 10**14)


def independent(kind: int, namespace: str, data: Any, ack: int | None) -> str:
    """A packet as python-socketio writes it."""
    packet = socketio.packet.Packet(kind, data=data, namespace=namespace, id=ack)
    text = packet.encode()
    assert isinstance(text, str)
    return text


@given(NAMESPACES, EVENTS, IDS)
def test_an_event_is_read_as_another_implementation_wrote_it(
    namespace: str, data: list[Any], ack: int | None
) -> None:
    packet = wire.parse(independent(2, namespace, data, ack))
    assert (packet.kind, packet.namespace, packet.ack) == ("event", namespace, ack)
    assert packet.read() == json.loads(json.dumps(data))


@given(NAMESPACES, st.dictionaries(st.text(max_size=5), st.text(), max_size=3))
def test_a_handshake_is_read_as_another_implementation_wrote_it(namespace: str, data: dict[str, str]) -> None:
    packet = wire.parse(independent(0, namespace, data or None, None))
    assert (packet.kind, packet.namespace, packet.ack) == ("connect", namespace, None)
    assert packet.read() == (data or None)


@given(st.text(max_size=80))
def test_no_text_makes_the_parser_fail_in_any_other_way(text: str) -> None:
    with suppress(InvalidMessageError):
        packet = wire.parse(text)
        assert packet.namespace.startswith("/")
        assert packet.ack is None or packet.ack >= 0
        packet.read()


@given(
    st.sampled_from("0123456789"),
    st.sampled_from(["", "/market-data,", "/market-data", "/,", "1-", "99999999999999999999-", "/\ud800,"]),
    st.text("0123456789²٣", max_size=30),
    st.sampled_from(
        ["", "[]", "[[]]", '["e"', "{}", "null", '["\ud800"]', '["\\ud800"]', '{"_placeholder":true}']
    ),
)
def test_no_packet_however_it_is_put_together_makes_the_parser_fail_in_any_other_way(
    kind: str, middle: str, digits: str, body: str
) -> None:
    with suppress(InvalidMessageError):
        wire.parse(kind + middle + digits + body).read()


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: repr(body[:12]))
@pytest.mark.parametrize("frame", ["2/market-data,1%s", '2/market-data,1["e",%s]', "0/market-data,%s", "3%s"])
def test_no_json_however_hostile_makes_the_parser_fail_in_any_other_way(body: bytes, frame: str) -> None:
    with suppress(InvalidMessageError):
        wire.parse(frame.replace("%s", body.decode("utf-8", "surrogateescape"))).read()


@given(st.text(min_size=1), st.lists(JSON, max_size=3))
def test_what_is_written_is_read_back_by_another_implementation(name: str, arguments: list[Any]) -> None:
    """Engine.IO's digit first; nothing in a packet is taken for the separator between packets."""
    texts = wire.POLLING.render([messages.custom(name, arguments)] * 2).decode().split("\x1e")
    assert len(texts) == 2
    for text in texts:
        assert text[0] == "4"
        packet = socketio.packet.Packet(encoded_packet=text[1:])
        assert (packet.packet_type, packet.namespace, packet.id) == (2, "/market-data", None)
        assert packet.data == json.loads(json.dumps([name, *arguments]))


@given(st.integers(0, 10**14), JSON)
def test_an_acknowledgement_is_read_back_by_another_implementation(ack: int, answer: Any) -> None:
    text = wire.acknowledge(ack, messages.custom("x", [answer]).body).body.decode()
    packet = socketio.packet.Packet(encoded_packet=text[1:])
    assert (packet.packet_type, packet.namespace, packet.id) == (3, "/market-data", ack)
    assert packet.data == json.loads(json.dumps([answer]))


@given(st.lists(st.tuples(st.text(min_size=1, max_size=9), JSON), min_size=1, max_size=4))
def test_many_frames_in_one_write_are_each_frame_in_turn(sent: list[tuple[str, Any]]) -> None:
    frames = [messages.custom(name, [data]) for name, data in sent]
    fresh = [Frame(f.event, f.body) for f in frames]
    for dialect, joiner in ((wire.POLLING, b"\x1e"), (wire.WEBSOCKET, b"")):
        assert dialect.render(frames) == joiner.join(dialect.render([frame]) for frame in fresh)
