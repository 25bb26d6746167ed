import pytest

from marketstream.core.delivery import closing
from marketstream.core.delivery.closing import CloseReason
from marketstream.wire.websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Decoder,
    FrameError,
    Message,
    accept_key,
    encode,
    encode_close,
)

MASK = b"\x01\x02\x03\x04"
CONTINUATION = 0


def masked(
    payload: bytes, opcode: int = TEXT, *, final: bool = True, reserved: int = 0, size: int | None = None
) -> bytes:
    """A client's frame, written out by hand; `size` is what the header claims."""
    claimed = len(payload) if size is None else size
    head = bytes([(0x80 if final else 0) | reserved | opcode])
    if claimed < 126:
        head += bytes([0x80 | claimed])
    elif claimed < 65536:
        head += bytes([0x80 | 126]) + claimed.to_bytes(2)
    else:
        head += bytes([0x80 | 127]) + claimed.to_bytes(8)
    return head + MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))


def read(data: bytes, decoder: Decoder | None = None) -> list[Message]:
    """The messages in some bytes; a decoder of its own takes 100 bytes at most."""
    found = (Decoder(100) if decoder is None else decoder).feed(data)
    return [message for message in found if message is not None]


def fault(data: bytes, limit: int = 1_000) -> CloseReason:
    """The reason for which some bytes end a connection."""
    with pytest.raises(FrameError) as caught:
        list(Decoder(limit).feed(data))
    return caught.value.reason


def test_the_answer_to_a_key_is_that_of_the_rfc() -> None:
    """The example of RFC 6455, section 1.3."""
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_frame_has_the_shortest_head_for_its_length_and_no_mask(size: int, head: bytes) -> None:
    payload = b"x" * size
    assert encode(payload) == head + payload


def test_a_close_frame_says_why() -> None:
    frame = encode_close(closing.SLOW_CONSUMER)
    assert frame == b"\x88" + bytes([2 + len(closing.SLOW_CONSUMER.text)]) + b"\x11\x38" + frame[4:]
    assert frame[4:].decode() == closing.SLOW_CONSUMER.text


def test_a_close_frame_is_never_too_long() -> None:
    frame = encode_close(CloseReason("long", "x" * 500, 4000, reconnect=False))
    assert len(frame) == 2 + 125


@pytest.mark.parametrize(
    ("opcode", "kind"), [(TEXT, "text"), (BINARY, "binary"), (CLOSE, "close"), (PING, "ping"), (PONG, "pong")]
)
def test_a_message_is_read_with_its_kind(opcode: int, kind: str) -> None:
    (message,) = read(masked(b"\x03\xe8hello", opcode)) if opcode == CLOSE else read(masked(b"hello", opcode))
    assert (message.kind, message.data.removeprefix(b"\x03\xe8")) == (kind, b"hello")


def test_several_messages_in_one_piece_come_in_order() -> None:
    data = masked(b"a") + masked(b"", PING) + masked(b"b")
    assert read(data) == [Message("text", b"a"), Message("ping", b""), Message("text", b"b")]


def test_fragments_become_one_message_and_pings_pass_between_them() -> None:
    decoder = Decoder(100)
    assert read(masked(b"he", final=False), decoder) == []
    assert read(masked(b"now", PING), decoder) == [Message("ping", b"now")]
    assert read(masked(b"ll", CONTINUATION, final=False), decoder) == []
    assert read(masked(b"o", CONTINUATION), decoder) == [Message("text", b"hello")]
    assert read(masked(b"x", BINARY), decoder) == [Message("binary", b"x")]


def test_a_letter_may_be_cut_by_fragments() -> None:
    snowman = "☃".encode()
    data = masked(snowman[:1], final=False) + masked(snowman[1:], CONTINUATION)
    assert read(data) == [Message("text", snowman)]


def test_text_that_is_not_utf8_is_refused_and_binary_is_not() -> None:
    assert fault(masked(b"\xff")).websocket_code == 1007
    assert fault(masked(b"\xed\xa0\x80")).websocket_code == 1007
    assert read(masked(b"\xff", BINARY)) == [Message("binary", b"\xff")]


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x05hello",
        masked(b"x", reserved=0x40),
        masked(b"x", reserved=0x20),
        masked(b"x", reserved=0x10),
        masked(b"x", 0x3),
        masked(b"x", 0xB),
        masked(b"x", PING, final=False),
        masked(b"x" * 126, PING),
        masked(b"x", CONTINUATION),
        masked(b"x", final=False) + masked(b"y"),
    ],
    ids=[
        "not masked",
        "compressed",
        "second reserved bit",
        "third reserved bit",
        "reserved opcode",
        "reserved control opcode",
        "fragmented ping",
        "long ping",
        "continuation of nothing",
        "message in a message",
    ],
)
def test_what_breaks_the_protocol_ends_the_connection(data: bytes) -> None:
    assert fault(data) is closing.INVALID_MESSAGE


@pytest.mark.parametrize(
    "data",
    [
        masked(b"x" * 101),
        masked(b"", size=101),
        masked(b"", size=2**63),
        masked(b"", BINARY, size=2**32),
        masked(b"x" * 60, final=False) + masked(b"x" * 41, CONTINUATION),
    ],
    ids=["whole", "announced", "absurd", "binary", "in fragments"],
)
def test_a_message_that_is_too_big_is_refused_before_it_is_held(data: bytes) -> None:
    assert fault(data, limit=100) is closing.MESSAGE_TOO_BIG


def test_a_message_of_just_the_limit_is_taken() -> None:
    assert len(read(masked(b"x" * 100))) == 1
    assert len(read(masked(b"x" * 60, final=False) + masked(b"x" * 40, CONTINUATION))) == 1


def test_the_limit_is_for_each_message_not_for_all_of_them() -> None:
    assert len(read(masked(b"x" * 100) * 5)) == 5


def test_fragments_of_a_message_that_is_over_do_not_count_for_the_next() -> None:
    decoder = Decoder(100)
    for _ in range(3):
        read(masked(b"x" * 90, final=False) + masked(b"x" * 10, CONTINUATION), decoder)


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
def test_a_close_frame_with_a_code_that_may_be_sent_is_taken(code: int) -> None:
    payload = code.to_bytes(2) + "an end \N{SNOWMAN}".encode()
    assert read(masked(payload, CLOSE)) == [Message("close", payload)]


@pytest.mark.parametrize(
    "code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 32768, 65535]
)
def test_a_close_frame_with_another_code_breaks_the_protocol(code: int) -> None:
    """RFC 6455, 7.4: what is reserved, not registered, or stands for the absence of a frame."""
    assert fault(masked(code.to_bytes(2), CLOSE)) is closing.INVALID_MESSAGE
    assert fault(masked(code.to_bytes(2) + b"reason", CLOSE)) is closing.INVALID_MESSAGE


def test_a_close_frame_without_a_code_is_taken_and_one_of_a_single_octet_is_not() -> None:
    assert read(masked(b"", CLOSE)) == [Message("close", b"")]
    assert fault(masked(b"\x03", CLOSE)) is closing.INVALID_MESSAGE


@pytest.mark.parametrize("reason", [b"\xff", b"\xe2\x98", b"\xed\xa0\x80", b"fine \xc0\xaf"])
def test_the_reason_of_a_close_frame_must_be_utf8(reason: bytes) -> None:
    assert fault(masked(b"\x03\xe8" + reason, CLOSE)).websocket_code == 1007


def test_what_came_before_a_fault_is_given_out_before_it() -> None:
    messages = Decoder(100).feed(masked(b"good") + masked(b"bad", 0x3) + masked(b"late"))
    assert next(messages) == Message("text", b"good")
    with pytest.raises(FrameError):
        next(messages)


def test_text_is_refused_in_the_fragment_that_is_wrong() -> None:
    """Not only when the message is complete; a letter that is cut by a fragment is no fault."""
    decoder, snowman = Decoder(100), "\N{SNOWMAN}".encode()
    assert read(masked(snowman[:2], final=False), decoder) == []
    with pytest.raises(FrameError) as caught:
        read(masked(b"x", CONTINUATION, final=False), decoder)
    assert caught.value.reason.websocket_code == 1007


def test_each_frame_counts_also_one_that_completes_nothing() -> None:
    """So that a flood of fragments is one of messages."""
    data = masked(b"a", final=False) + masked(b"", CONTINUATION, final=False) * 3 + masked(b"b", CONTINUATION)
    assert list(Decoder(100).feed(data)) == [None] * 4 + [Message("text", b"ab")]
