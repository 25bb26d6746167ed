from struct import pack

from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.delivery.frame import Frame
from marketstream.errors import InvalidMessageError
from marketstream.wire import envelope

TEXT = st.text(max_size=20)
TENANT = st.none() | TEXT
FLOATS = st.floats(allow_nan=False)
TRADE = st.none() | st.tuples(FLOATS, st.none() | FLOATS)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """Any frame."""
    return Frame(
        draw(TEXT),
        draw(st.binary(max_size=50)),
        key=draw(st.none() | TEXT),
        symbol=draw(st.sampled_from(["", "A", "EUR/USD"])),
        tenant=draw(TENANT),
        at_ms=draw(st.integers(0, 2**53)),
        arity=draw(st.integers(0, 255)),
        withheld=draw(st.frozensets(TEXT, max_size=3)),
        trade=draw(TRADE),
    )


def shown(frame: Frame) -> tuple[object, ...]:
    return tuple(getattr(frame, name) for name in Frame.__slots__ if name != "wrapped")


class Everything:
    """Wants all."""

    def __contains__(self, name: object) -> bool:
        return True


@given(st.lists(frames(), max_size=5), st.integers(1, 2**53), st.integers(0, 2**53))
def test_what_is_read_is_what_was_written(sent: list[Frame], first: int, previous: int) -> None:
    head = pack(">BQQI", envelope.VERSION, first, previous, len(sent))
    data = head + b"".join(map(envelope.render, sent))
    read = envelope.parse_batch(data, Everything())
    for number, frame in enumerate(sent):
        frame.cursor = first + number
        value = pack(">Q", frame.cursor) + envelope.render(frame)
        assert shown(envelope.parse_value(value)) == shown(frame)
    assert [shown(frame) for frame in read.frames] == [shown(frame) for frame in sent]


@given(st.binary(max_size=200), st.lists(frames(), max_size=2), st.data())
def test_no_bytes_make_the_reader_raise_anything_else(
    junk: bytes, sent: list[Frame], data: st.DataObject
) -> None:
    good = pack(">BQQI", envelope.VERSION, 1, 0, len(sent)) + b"".join(map(envelope.render, sent))
    at = data.draw(st.integers(0, len(good)))
    for message in (junk, good[:at], good[:at] + junk, good[:at] + junk + good[at:]):
        for read in (lambda raw: envelope.parse_batch(raw, Everything()), envelope.parse_value):
            try:
                read(message)
            except InvalidMessageError:
                continue
