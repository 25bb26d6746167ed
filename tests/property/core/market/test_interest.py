from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from marketstream.core.market.interest import InterestCounts

HOLDERS = st.sampled_from(["a", "b", "c"])
SYMBOLS = st.frozensets(st.sampled_from(["U", "V", "W", "X"]))
LINGER = 5.0


class InterestMachine(RuleBasedStateMachine):
    """Under any history, demanded is what anyone holds or held less than five seconds ago."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = InterestCounts(LINGER)
        self.now = 100.0
        self.held: set[tuple[str, str]] = set()
        self.left: dict[str, float] = {}
        self.seen: list[frozenset[str]] = [frozenset()]

    def let_go(self, gone: set[tuple[str, str]]) -> None:
        """What the model does when holders let go."""
        before = {symbol for _, symbol in self.held}
        self.held -= gone
        for symbol in before - {symbol for _, symbol in self.held}:
            self.left[symbol] = self.now

    @rule(holder=HOLDERS, symbols=SYMBOLS)
    def hold(self, holder: str, symbols: frozenset[str]) -> None:
        """Somebody watches more."""
        self.counts.hold(holder, symbols)
        self.held |= {(holder, symbol) for symbol in symbols}

    @rule(holder=HOLDERS, symbols=SYMBOLS)
    def release(self, holder: str, symbols: frozenset[str]) -> None:
        """Somebody watches less, or never did."""
        self.counts.release(holder, symbols, self.now)
        self.let_go({(holder, symbol) for symbol in symbols})

    @rule(holder=HOLDERS, symbols=SYMBOLS)
    def replace(self, holder: str, symbols: frozenset[str]) -> None:
        """Somebody says all."""
        self.counts.replace(holder, symbols, self.now)
        self.held |= {(holder, symbol) for symbol in symbols}
        self.let_go({pair for pair in self.held if pair[0] == holder and pair[1] not in symbols})

    @rule(holder=HOLDERS)
    def forget(self, holder: str) -> None:
        """Somebody is gone."""
        self.counts.forget(holder, self.now)
        self.let_go({pair for pair in self.held if pair[0] == holder})

    @rule(seconds=st.sampled_from([0.5, 1, 2.5, 5, 20]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @invariant()
    def demanded_is_what_the_model_says(self) -> None:
        """In every way to ask."""
        changes = self.counts.changes
        self.counts.expire(self.now)
        held = {symbol for _, symbol in self.held}
        expected = held | {symbol for symbol, at in self.left.items() if self.now - at < LINGER}
        assert self.counts.symbols() == expected
        assert len(self.counts) == len(expected)
        assert all(symbol in self.counts for symbol in expected)
        lingering = [at + LINGER for symbol, at in self.left.items() if symbol in expected - held]
        assert self.counts.ends_at == min(lingering, default=None)
        if expected != self.seen[-1]:
            assert self.counts.changes > 0
            self.seen.append(frozenset(expected))
        elif changes == self.counts.changes:
            assert expected == self.seen[-1]

    @invariant()
    def nothing_is_kept_of_those_who_hold_nothing(self) -> None:
        """Neither holders nor symbols."""
        assert set(self.counts._held) == {holder for holder, _ in self.held}
        assert set(self.counts._counts) == {symbol for _, symbol in self.held}


TestInterest = InterestMachine.TestCase
