"""What a process tells others of its interest, and what it makes of what they tell.

No I/O: `coordination.interest_gossip` sends, listens and reads as is decided here.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from marketstream.wire.interest import Word

Heard = Literal["news", "missed", "gone", "nothing"]
"""What a word of another process comes to: a change to apply, a sign that something was not heard and must be
read, the end of the process, or nothing."""


class Announcements:
    """What is told of one's own symbols, change by change; everything anew when one of them went wrong.

    Args:
        node: Name of this process.

    Attributes:
        number: Of the newest word.
    """

    def __init__(self, node: str) -> None:
        self.number = 0
        self._node = node
        self._whole = True
        self._touched: set[str] = set()
        self._told: set[str] = set()

    def touch(self, symbol: str, watched: Collection[str]) -> None:
        """Note that a symbol is watched from now on, or no longer.

        Args:
            symbol: The symbol.
            watched: All that are watched.
        """
        if self._whole or (symbol not in self._told and symbol not in watched):
            # Everything is told anyway, or it came and went before it was told.
            self._touched.discard(symbol)
        else:
            self._touched.add(symbol)

    def rewrite(self) -> None:
        """See to it that everything is told again."""
        self._whole = True

    def next(self, watched: Collection[str]) -> Word | None:
        """Return the next word to tell; None when there is nothing.

        It counts as told until `failed` says otherwise. Of a `whole` word the symbols do not travel with it,
        but all of them are in `added`, to be written.
        """
        whole, self._whole = self._whole, False
        touched, self._touched = self._touched, set()
        if whole:
            self._told.clear()
            touched = set(watched)
        added = tuple(symbol for symbol in touched if symbol in watched and symbol not in self._told)
        dropped = tuple(symbol for symbol in touched if symbol in self._told and symbol not in watched)
        if not (whole or added or dropped):
            return None
        self._told.update(added)
        self._told.difference_update(dropped)
        # Also in vain: a number is never used twice, since the other side may have heard of it.
        self.number += 1
        return Word(self._node, self.number, "whole" if whole else "change", added, dropped)

    def failed(self) -> None:
        """Note that nobody knows whether the last word was heard."""
        self._touched.clear()
        self.rewrite()


class Others:
    """How far each other process was heard, and which of them to forget.

    Args:
        node: Name of this process, whose own words are nothing.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._numbers: dict[str, int] = {}
        self._patient_until = 0.0

    @property
    def known(self) -> list[str]:
        """Processes of which something is known."""
        return list(self._numbers)

    def be_patient(self, until: float) -> None:
        """Forget nobody before a moment: Redis lost its memory, and the others are about to come back."""
        self._patient_until = until

    def heard(self, word: Word) -> Heard:
        """Return what a word comes to; a change counts as applied."""
        known = self._numbers.get(word.node, -1)
        if word.node == self._node or word.number <= known:
            return "nothing"
        if word.kind == "gone":
            return "gone"
        if word.kind == "change" and word.number == known + 1:
            self._numbers[word.node] = word.number
            return "news"
        return "missed"

    def compare(self, alive: Mapping[str, int], now: float) -> tuple[list[str], list[str]]:
        """Compare with who is alive, by the number of each one's newest word.

        Returns:
            Those of whom something was not heard, and those that are gone.
        """
        missed = [node for node, number in alive.items() if number > self._numbers.get(node, -1)]
        gone = [node for node in self._numbers if node not in alive] if now >= self._patient_until else []
        return missed, gone

    def read(self, node: str, number: int) -> bool:
        """Note that all of a process was read; False when something newer was heard meanwhile."""
        if number <= self._numbers.get(node, -1):
            return False
        self._numbers[node] = number
        return True

    def forget(self, nodes: Iterable[str]) -> list[str]:
        """Forget processes; return those of which something was known."""
        return [node for node in nodes if self._numbers.pop(node, None) is not None]
