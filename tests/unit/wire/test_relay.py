import pytest

from marketstream.errors import InvalidMessageError
from marketstream.wire.relay import Message, parse, render

NAMESPACE = "/market-data"


@pytest.mark.parametrize(
    "message",
    [
        Message("emit", "h", NAMESPACE, event="x", arguments=(1, {"a": None}), room="tenant:acme"),
        Message("emit", "h", NAMESPACE, event="x", arguments=([],), room=["a", "b"], skip=frozenset("cd")),
        Message("emit", "h", NAMESPACE, event="x"),
        Message("disconnect", "h", NAMESPACE, sid="s"),
        Message("enter_room", "h", NAMESPACE, sid="s", room="r"),
        Message("close_room", "h", NAMESPACE, room="r"),
    ],
)
def test_what_is_read_is_what_was_written(message: Message) -> None:
    assert parse(render(message)) == message


def test_a_stock_managers_emit_is_understood() -> None:
    """Recorded from python-socketio 5.18."""
    data = (
        b'{"method": "emit", "event": "notice", "data": [{"text": "hi"}], "binary": false, "namespace": '
        b'"/market-data", "room": "tenant:acme", "skip_sid": null, "callback": null, "host_id": "5e1f"}'
    )
    assert parse(data) == Message(
        "emit", "5e1f", NAMESPACE, event="notice", arguments=({"text": "hi"},), room="tenant:acme"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\x80\x04}",
        b'{"method":1}',
        b'{"method":"emit","room":1}',
        b'{"method":"emit","skip_sid":[1]}',
        b'{"method":"emit","binary":true}',
        b'{"method":"emit","event":5}',
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessageError):
        parse(data)
