"""Inputs that nearly make sense: good ones, damaged by chance that a seed decides."""

import random
from collections.abc import Iterator, Sequence

INTERESTING = (
    *(
        b"\x00",
        b"\xff",
        b"\x7f",
        b"\x80",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x98\x80",
        b"\\ud83d",
        b"\xe2\x80\xae",
        b"\x1b[",
    ),
    *(
        b"null",
        b"true",
        b"{}",
        b"[]",
        b'""',
        b"NaN",
        b"Infinity",
        b"-0",
        b"1e400",
        b"1e-400",
        b"9" * 400,
        b"0.1",
    ),
    *(
        b"18446744073709551616",
        b"-9223372036854775809",
        b'"__proto__"',
        b"\x1e",
        b",",
        b":",
        b"@",
        b"%",
        b"&=",
        b"\n",
    ),
)


def damaged(corpus: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Yield inputs without end; the same ones for the same seed."""
    draw = random.Random(seed)
    while True:
        data = bytearray(draw.choice(corpus))
        for _ in range(draw.choice((0, 1, 1, 2, 3, 5, 8))):
            _damage(data, draw, corpus)
        yield bytes(data)


def _damage(data: bytearray, draw: random.Random, corpus: Sequence[bytes]) -> None:
    start = draw.randrange(len(data) + 1)
    end = min(len(data), start + draw.choice((0, 1, 2, 4, 16, 64)))
    match draw.randrange(7):
        case 0:
            data[start:end] = b""
        case 1:
            data[start:start] = data[start:end] * draw.choice((1, 2, 50))
        case 2:
            data[start:end] = draw.choice(INTERESTING)
        case 3:
            data[start:end] = draw.randbytes(end - start)
        case 4:
            del data[start:]
        case 5:
            other = draw.choice(corpus)
            data[start:end] = other[draw.randrange(len(other) + 1) :]
        case 6:
            for at in range(start, end):
                data[at] ^= 1 << draw.randrange(8)
