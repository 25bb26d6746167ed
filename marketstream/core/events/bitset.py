"""Store sets of subscriptions as integers, so that they combine in one step.

A set of slots is an `int` with one bit a slot, so that whole sets meet word by word. Such an `int` is as long
as its highest slot, however few bits it has; so a `BitSet` is one only while that is shorter than naming its
slots. What it takes therefore follows from what was put in, whoever thinks of how many values.
"""

from collections.abc import Collection, Sequence
from itertools import compress
from typing import TypeVar

ItemT = TypeVar("ItemT")

_DENSE = 256
"""An `int` takes an eighth of a byte a slot, a name of a slot about 32 bytes: so much is one of the other."""
_SPARSE = 16
"""Up to this part of the slots it is faster to look for each bit than to go through all of them."""
_BITS = bytes.maketrans(b"01", b"\x00\x01")


class BitSet:
    """The slots of one value, such as of one symbol."""

    __slots__ = ("_count", "_few", "_many")

    def __init__(self) -> None:
        self._few: set[int] | None = set()
        self._many = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, slot: int) -> None:
        """Take a slot in that is not in yet."""
        self._count += 1
        if self._few is None:
            self._many |= 1 << slot
        else:
            self._few.add(slot)
        self._settle(slot)

    def discard(self, slot: int) -> None:
        """Take a slot out that is in."""
        self._count -= 1
        if self._few is None:
            self._many ^= 1 << slot
        else:
            self._few.discard(slot)
        self._settle(slot)

    def bits(self) -> int:
        """Return all of them, one bit a slot."""
        return self._many if self._few is None else pack(self._few)

    def _settle(self, slot: int) -> None:
        """Becomes what is shorter; one slot that comes and goes does not turn it each time."""
        if self._few is None:
            if self._count * _DENSE * 2 < self._many.bit_length():
                self._few, self._many = set(pick(range(self._many.bit_length()), self._many)), 0
        elif self._count * _DENSE > slot and self._count * _DENSE > max(self._few, default=0):
            self._many, self._few = pack(self._few), None


def pick(items: Sequence[ItemT], bits: int) -> list[ItemT]:
    """Return the items whose bit is set, in no promised order; an item's bit is that of its place."""
    if bits.bit_count() * _SPARSE > len(items):
        return list(compress(items, bin(bits)[:1:-1].encode().translate(_BITS)))
    text = bin(bits)
    top, at = len(text) - 1, text.find("1", 2)
    found = []
    while at >= 0:
        found.append(items[top - at])
        at = text.find("1", at + 1)
    return found


def pack(slots: Collection[int]) -> int:
    """Return the bits of some slots."""
    if not slots:
        return 0
    raw = bytearray(max(slots) // 8 + 1)
    for slot in slots:
        raw[slot >> 3] |= 1 << (slot & 7)
    return int.from_bytes(raw, "little")
