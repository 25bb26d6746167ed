"""The frames of this server against another implementation of RFC 6455: the package websocket-client."""

from contextlib import suppress

import websocket as other
from hypothesis import given
from hypothesis import strategies as st
from websocket._abnf import frame_buffer

from marketstream.wire.websocket import BINARY, CLOSE, PING, PONG, TEXT, Decoder, FrameError, Message, encode

LIMIT = 200_000
SIZES = st.sampled_from([0, 1, 3, 124, 125, 126, 127, 1_000, 65_535, 65_536, 70_000])
KINDS = {TEXT: "text", BINARY: "binary", PING: "ping", PONG: "pong", CLOSE: "close"}

Sent = tuple[int, bytes, int]
"""Opcode, payload, and into how many fragments it is cut."""

MESSAGES: st.SearchStrategy[Sent] = st.one_of(
    st.tuples(st.just(TEXT), st.text(max_size=200).map(str.encode), st.integers(1, 4)),
    st.tuples(st.just(BINARY), SIZES.map(lambda size: b"\xfe" * size), st.integers(1, 4)),
    st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125), st.just(1)),
    st.tuples(st.just(CLOSE), st.text(max_size=30).map(lambda text: b"\x0f\xa0" + text.encode()), st.just(1)),
)


def masked(sent: Sent) -> bytes:
    """A message as the other implementation sends it, as a client: masked at random."""
    opcode, payload, parts = sent
    size = -(-len(payload) // parts) or 1
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    frames = []
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        frame = other.ABNF(int(last), 0, 0, 0, opcode if number == 0 else 0, 1, piece)
        frames.append(frame.format())
    return b"".join(frames)


def read(decoder: Decoder, data: bytes) -> list[Message]:
    """The messages that some bytes complete."""
    return [message for message in decoder.feed(data) if message is not None]


@given(st.lists(MESSAGES, max_size=6), st.lists(st.integers(0, 2_000), max_size=30))
def test_what_another_implementation_sends_is_read_however_it_is_cut(
    sent: list[Sent], cuts: list[int]
) -> None:
    data, decoder = b"".join(map(masked, sent)), Decoder(LIMIT)
    received: list[Message] = []
    for cut in cuts:
        received += read(decoder, data[:cut])
        data = data[cut:]
    received += read(decoder, data)
    assert [(m.kind, m.data) for m in received] == [(KINDS[opcode], payload) for opcode, payload, _ in sent]


@given(st.lists(MESSAGES, min_size=1, max_size=3))
def test_every_message_is_given_out_with_its_last_byte_and_not_before(sent: list[Sent]) -> None:
    decoder = Decoder(LIMIT)
    for message in sent:
        data = masked(message)
        for at in range(max(0, len(data) - 40), len(data) - 1):
            assert read(Decoder(LIMIT), data[: at + 1]) == []
        assert read(decoder, data[:-1]) == []
        assert len(read(decoder, data[-1:])) == 1


class Pipe:
    """What the other implementation reads from instead of a socket."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, count: int) -> bytes:
        """Up to so many bytes."""
        piece, self.data = self.data[:count], self.data[count:]
        return piece


@given(st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), SIZES), min_size=1, max_size=4))
def test_another_implementation_reads_what_this_one_sends(sent: list[tuple[int, int]]) -> None:
    pipe = Pipe(b"".join(encode(b"x" * size, opcode) for opcode, size in sent))
    reader = frame_buffer(pipe.read, skip_utf8_validation=False)
    for opcode, size in sent:
        frame = reader.recv_frame()
        assert (frame.fin, frame.rsv1, frame.opcode, frame.data) == (1, 0, opcode, b"x" * size)
        assert not frame.mask_value
    assert pipe.data == b""


@given(st.lists(st.binary(max_size=300) | MESSAGES.map(masked), max_size=5))
def test_no_bytes_make_the_decoder_fail_in_any_other_way(pieces: list[bytes]) -> None:
    decoder = Decoder(1_000)
    with suppress(FrameError):
        for piece in pieces:
            assert all(len(message.data) <= 1_000 for message in read(decoder, piece))


@given(st.binary(min_size=2, max_size=14), st.integers(0, 2_000))
def test_no_bytes_make_the_decoder_hold_more_than_one_message(head: bytes, size: int) -> None:
    """Its memory is bounded by the limit and a frame's head, whatever a client announces."""
    decoder = Decoder(500)
    with suppress(FrameError):
        read(decoder, head)
        read(decoder, bytes(size))
    assert len(decoder._buffer) <= 500 + 14
