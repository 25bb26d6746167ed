from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from marketstream.bus.outgoing import Outgoing
from marketstream.core.delivery.frame import Frame
from marketstream.wire import messages
from tests.support.builders import best_price

SHARDS = 2
SYMBOLS = ["A", "B", "C"]


class Line(RuleBasedStateMachine):
    """Frames go out over a Redis that is lost before or after it took a batch, and that another may fence."""

    def __init__(self) -> None:
        super().__init__()
        self.outgoing = Outgoing(SHARDS, sharded=False)
        self.number = 0
        self.cursor = 0
        self.newest: dict[str, int] = {}
        self.stored: dict[str, bytes] = {}
        self.delivered: list[tuple[str, int]] = []
        self.term, self.allowed = 0, 0
        self.unsettled = False

    @rule(symbol=st.sampled_from(SYMBOLS))
    def publish(self, symbol: str) -> None:
        """Each price has a number of its own: its time."""
        self.number += 1
        self.newest[symbol] = self.number
        self.outgoing.put([messages.price(best_price(symbol, 1, self.number))])

    @precondition(lambda self: not self.unsettled)
    @rule(fate=st.sampled_from(["sent", "lost before", "lost after"]))
    def send(self, fate: str) -> None:
        """Sends a batch."""
        batch = self.outgoing.take()
        if batch is None:
            return
        is_open = self.term == self.allowed
        replies: list[list[bytes]] = []
        if fate != "lost before" and is_open:
            replies = [self._arrive(entries) for _, entries in batch.entries]
        elif fate != "lost before":
            replies = [[] for _ in batch.entries]
        if fate == "sent":
            self.outgoing.sent(batch, [replies])
        else:
            self.outgoing.failed(batch)
            self.unsettled = True

    def _arrive(self, entries: list[tuple[Frame, str, bytes]]) -> list[bytes]:
        for frame, field, entry in entries:
            self.cursor += 1
            self.stored[field] = self.cursor.to_bytes(8, "big") + entry
            self.delivered.append((frame.symbol, frame.at_ms))
        return [b"%d" % self.cursor]

    @precondition(lambda self: self.unsettled)
    @rule()
    def settle(self) -> None:
        """Redis is back, and is asked first what it has."""
        self._settle()

    def _settle(self) -> None:
        doubts = self.outgoing.doubts()
        values = [[self.stored.get(field) for _, field, _ in entries] for _, entries in doubts]
        self.outgoing.settle(doubts, values)
        self.unsettled = False

    @rule()
    def overtake(self) -> None:
        """Another process begins a term."""
        self.allowed = self.term + 1

    @rule()
    def take_over(self) -> None:
        """This process begins one."""
        self._take_over()

    def _take_over(self) -> None:
        self.term = self.allowed = max(self.term, self.allowed) + 1
        self.outgoing.start_term(str(self.term))

    @invariant()
    def no_price_goes_back_or_comes_twice(self) -> None:
        """For each symbol."""
        for symbol in SYMBOLS:
            heard = [number for name, number in self.delivered if name == symbol]
            assert all(a < b for a, b in pairwise(heard)), heard

    def teardown(self) -> None:
        """In the end the newest of each symbol has arrived."""
        if self.unsettled:
            self._settle()
        self._take_over()
        while (batch := self.outgoing.take()) is not None:
            self.outgoing.sent(batch, [[self._arrive(entries) for _, entries in batch.entries]])
        assert dict(sorted(self.delivered, key=lambda each: each[1])) == self.newest


TestLine = Line.TestCase
