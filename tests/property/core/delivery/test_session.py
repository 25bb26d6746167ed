from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from marketstream.core.delivery.commands import (
    Effect,
    Join,
    JoinChannel,
    Leave,
    LeaveChannel,
    ListSubscriptions,
    SendSnapshot,
    Subscribe,
    Subscribed,
    Subscription,
    Subscriptions,
    Unsubscribe,
    Unsubscribed,
)
from marketstream.core.delivery.entitlements import Mode, Plan
from marketstream.core.delivery.session import CHANNELS, Session
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.errors import RateLimitedError
from tests.support.builders import principal

CAP = 4
PLAN = Plan("p", max_subscriptions=CAP, rate_capacity=10, rate_refill=5, channels=("indices", "movers"))
RAW = st.lists(st.sampled_from(["A1", "a1", "A2", "A3", "B1", "B2", "B3", "no!", "", "é"]), max_size=8)
MODES: st.SearchStrategy[Mode] = st.sampled_from(["latest", "every"])
SOME_CHANNELS = st.none() | st.lists(st.sampled_from(CHANNELS), max_size=3).map(tuple)
GLOBS = st.sampled_from([None, ["A*"], ["B*", "A1"], []])


class SessionMachine(RuleBasedStateMachine):
    """Whatever a client asks, its session stays within the plan, and the effects tell all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.session = Session(principal(plan=PLAN), SymbolRegistry("open"))
        self.joined: dict[str, Subscription] = {}
        self.channels: list[str] = []

    def replay(self, effects: list[Effect]) -> None:
        """Carries effects out, as the engine does."""
        for effect in effects:
            match effect:
                case Join(held):
                    assert self.joined.get(held.symbol) != held
                    self.joined[held.symbol] = held
                case Leave(symbol):
                    del self.joined[symbol]
                case JoinChannel(channel):
                    assert channel not in self.channels
                    self.channels.append(channel)
                case LeaveChannel(channel):
                    self.channels.remove(channel)
                case SendSnapshot(symbols):
                    assert symbols
                    assert set(symbols) <= set(self.joined)

    @rule(raw=RAW, mode=MODES, rate=st.sampled_from([0.0, 2.0]), channels=SOME_CHANNELS)
    def subscribe(self, raw: list[str], mode: Mode, rate: float, channels: tuple[str, ...] | None) -> None:
        """The client subscribes to anything."""
        before = dict(self.session.subscriptions), self.session.channels
        try:
            reply, effects = self.session.handle(Subscribe(tuple(raw), mode, rate, channels), self.now, 0)
        except RateLimitedError as error:
            assert before == (self.session.subscriptions, self.session.channels)
            self.now += error.retry_after_ms / 1000
            self.session.spend(self.now)
            return
        assert isinstance(reply, Subscribed)
        self.replay(effects)
        assert set(reply.symbols) <= set(self.joined)
        assert all(self.joined[symbol].mode == mode for symbol in reply.symbols)
        assert len(set(reply.symbols)) == len(reply.symbols)
        refused = {error.partition(":")[0] for error in reply.errors if error.partition(":")[0] in raw}
        assert not refused & set(reply.symbols)

    @rule(raw=RAW, channels=SOME_CHANNELS)
    def unsubscribe(self, raw: list[str], channels: tuple[str, ...] | None) -> None:
        """The client unsubscribes from anything."""
        reply, effects = self.session.handle(Unsubscribe(tuple(raw), channels), self.now, 0)
        assert isinstance(reply, Unsubscribed)
        self.replay(effects)
        assert not set(reply.symbols) & set(self.joined)

    @rule(globs=GLOBS)
    def renew(self, globs: list[str] | None) -> None:
        """The client goes on under a token that covers more or less of the same plan."""
        held = len(self.session.subscriptions) + len(self.session.channels)
        effects, ended = self.session.renew(principal(plan=PLAN, symbols=globs), self.now)
        self.replay(effects)
        assert len(ended) == held - len(self.session.subscriptions) - len(self.session.channels)
        assert all(self.session.principal.allows_symbol(symbol) for symbol in self.joined)

    @rule(seconds=st.sampled_from([0.0, 0.1, 10.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @invariant()
    def within_the_plan(self) -> None:
        """The caps hold."""
        assert len(self.session.subscriptions) <= CAP
        assert all(PLAN.allows_channel(channel) for channel in self.session.channels)

    @invariant()
    def told(self) -> None:
        """The effects, replayed, are what the session holds and what it says it holds."""
        assert self.joined == self.session.subscriptions
        assert tuple(self.channels) == self.session.channels
        reply, _ = self.session.handle(ListSubscriptions(), self.now, 0)
        assert reply == Subscriptions(tuple(self.session.subscriptions.values()), self.session.channels)


TestSession = SessionMachine.TestCase


@given(RAW, MODES, SOME_CHANNELS)
def test_subscribing_five_times_equals_once(
    raw: list[str], mode: Mode, channels: tuple[str, ...] | None
) -> None:
    once, often = (Session(principal(plan=PLAN), SymbolRegistry("open")) for _ in range(2))
    command = Subscribe(tuple(raw), mode, 0, channels)
    reply, _ = once.handle(command, 0, 0)
    replies = [often.handle(command, 0, 0) for _ in range(5)]
    assert [each for each, _ in replies] == [reply] * 5
    assert (once.subscriptions, once.channels) == (often.subscriptions, often.channels)
    later = [effect for _, effects in replies[1:] for effect in effects]
    assert all(isinstance(effect, SendSnapshot) for effect in later)
