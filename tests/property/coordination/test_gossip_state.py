from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from marketstream.coordination.gossip_state import Announcements, Others
from marketstream.wire.interest import Word

SYMBOLS = st.sampled_from(["A", "B", "C"])


class Gossip(RuleBasedStateMachine):
    """One process tells another, by a channel that loses words and a Redis that may be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.announcements, self.others = Announcements("a"), Others("b")
        self.watched: set[str] = set()
        self.stored: tuple[int, set[str]] = (0, set())
        self.known: set[str] = set()

    @rule(symbol=SYMBOLS)
    def change(self, symbol: str) -> None:
        """Somebody comes, or the last one goes."""
        self.watched ^= {symbol}
        self.announcements.touch(symbol, self.watched)

    @rule(fate=st.sampled_from(["heard", "channel lost", "reply lost", "not sent"]))
    def tell(self, fate: str) -> None:
        """A word is sent, and heard or not."""
        word = self.announcements.next(self.watched)
        if word is None:
            return
        if fate == "not sent" or not self._keep(word):
            self.announcements.failed()
            return
        if fate != "channel lost":
            self._deliver(word)
        if fate == "reply lost":
            self.announcements.failed()

    def _keep(self, word: Word) -> bool:
        """As `announce.lua` does."""
        number, symbols = self.stored
        if word.kind == "whole":
            symbols = set()
        elif number != word.number - 1:
            return False
        self.stored = word.number, (symbols | set(word.added)) - set(word.dropped)
        return True

    def _deliver(self, word: Word) -> None:
        match self.others.heard(word):
            case "news":
                self.known = (self.known | set(word.added)) - set(word.dropped)
            case "missed":
                self._read()

    def _read(self) -> None:
        number, symbols = self.stored
        if self.others.read("a", number):
            self.known = set(symbols)

    @rule()
    def forget(self) -> None:
        """Redis loses its memory, and is told everything again as soon as that is noticed."""
        self.stored = (0, set())
        self.announcements.rewrite()

    @rule()
    def beat(self) -> None:
        """A sign of life names the newest number."""
        missed, _ = self.others.compare({"a": self.announcements.number}, 0.0)
        if missed:
            self._read()

    def teardown(self) -> None:
        """In the end the other one knows what is watched."""
        for _ in range(2):
            # The first may find that Redis does not know what it follows on.
            if (word := self.announcements.next(self.watched)) is not None:
                if self._keep(word):
                    self._deliver(word)
                else:
                    self.announcements.failed()
        missed, _ = self.others.compare({"a": self.announcements.number}, 0.0)
        if missed:
            self._read()
        assert self.known == self.watched == self.stored[1]


TestGossip = Gossip.TestCase
