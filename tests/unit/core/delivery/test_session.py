import pytest

from marketstream.core.delivery.commands import (
    Join,
    JoinChannel,
    Leave,
    LeaveChannel,
    ListSubscriptions,
    Ping,
    Pong,
    SendSnapshot,
    Subscribe,
    Subscribed,
    Subscription,
    Subscriptions,
    Unsubscribe,
    Unsubscribed,
)
from marketstream.core.delivery.entitlements import Plan, Principal
from marketstream.core.delivery.session import Session
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.errors import (
    AuthFailedError,
    InvalidMessageError,
    NotEntitledError,
    RateLimitedError,
)
from tests.support.builders import principal

OPEN = SymbolRegistry("open")


def session(who: Principal | None = None, registry: SymbolRegistry = OPEN) -> Session:
    return Session(who or principal(), registry)


def on(plan: Plan) -> Session:
    return session(principal(plan=plan))


def latest(symbol: str, rate: float = 0) -> Subscription:
    return Subscription(symbol, "latest", rate)


def test_a_subscription_is_joined_before_its_snapshot_is_sent() -> None:
    reply, effects = session().handle(Subscribe(("AAPL", "MSFT")), 0, 0)
    assert reply == Subscribed(("AAPL", "MSFT"), None, ())
    assert effects == [Join(latest("AAPL")), Join(latest("MSFT")), SendSnapshot(("AAPL", "MSFT"))]


def test_subscribing_again_counts_once_and_only_sends_the_snapshot_again() -> None:
    mine = session()
    mine.handle(Subscribe(("AAPL",)), 0, 0)
    reply, effects = mine.handle(Subscribe(("aapl", "AAPL")), 0, 0)
    assert reply == Subscribed(("AAPL",), None, ())
    assert effects == [SendSnapshot(("AAPL",))]
    assert list(mine.subscriptions) == ["AAPL"]


def test_subscribing_again_in_another_way_changes_the_delivery() -> None:
    mine = session()
    mine.handle(Subscribe(("AAPL",)), 0, 0)
    _, effects = mine.handle(Subscribe(("AAPL",), mode="every", max_rate=2), 0, 0)
    assert effects == [Join(Subscription("AAPL", "every", 2)), SendSnapshot(("AAPL",))]


def test_each_bad_symbol_is_told_and_harms_no_other() -> None:
    mine = session(principal(symbols=["A*"]), SymbolRegistry("listed", ["AAPL", "MSFT"]))
    reply, effects = mine.handle(Subscribe(("AAPL", "!", "ABBA", "MSFT", "!")), 0, 0)
    assert reply == Subscribed(
        ("AAPL",), None, ("!: invalid symbol", "ABBA: invalid symbol", "MSFT: not entitled")
    )
    assert effects == [Join(latest("AAPL")), SendSnapshot(("AAPL",))]


def test_an_endless_symbol_is_not_echoed_in_full() -> None:
    reply, effects = session().handle(Subscribe(("x" * 10_000,)), 0, 0)
    assert reply == Subscribed((), None, ("x" * 64 + ": invalid symbol",))
    assert effects == []


def test_what_exceeds_the_cap_is_refused_and_what_one_has_is_not() -> None:
    mine = on(Plan("small", max_subscriptions=2))
    mine.handle(Subscribe(("A",)), 0, 0)
    reply, _ = mine.handle(Subscribe(("B", "C", "A")), 0, 0)
    assert reply == Subscribed(("B", "A"), None, ("C: max subscriptions reached",))
    mine.handle(Unsubscribe(("A",)), 0, 0)
    assert mine.handle(Subscribe(("C",)), 0, 0)[0] == Subscribed(("C",), None, ())


def test_the_stricter_of_the_plans_and_the_clients_rate_counts() -> None:
    mine = on(Plan("slow", max_rate=5))
    _, effects = mine.handle(Subscribe(("A",), max_rate=2), 0, 0)
    _, others = mine.handle(Subscribe(("B",), max_rate=50), 0, 0)
    assert effects[0] == Join(latest("A", 2))
    assert others[0] == Join(latest("B", 5))


def test_a_mode_beyond_the_plan_refuses_the_call() -> None:
    mine = on(Plan("basic", modes=("latest",), rate_capacity=2))
    with pytest.raises(NotEntitledError, match="mode every is not part of plan basic"):
        mine.handle(Subscribe(("A",), mode="every"), 0, 0)
    assert mine.subscriptions == {}
    mine.handle(Subscribe(("A",)), 0, 0)


@pytest.mark.parametrize(
    ("scopes", "reads"),
    [
        ({"market:read"}, True),
        ({"admin"}, True),
        ({"market:publish"}, False),
        ({"market:publish", "market:read"}, True),
    ],
)
def test_a_token_that_is_only_for_publishing_sees_no_price(scopes: set[str], *, reads: bool) -> None:
    mine = session(principal(scopes=scopes))
    if reads:
        mine.handle(Subscribe(("A",)), 0, 0)
        return
    with pytest.raises(NotEntitledError, match="scope market:read is required"):
        mine.handle(Subscribe(("A",)), 0, 0)
    assert mine.subscriptions == {}


def test_a_call_too_many_says_when_to_come_back_and_changes_nothing() -> None:
    mine = on(Plan("p", rate_capacity=2, rate_refill=10))
    for _ in range(2):
        mine.handle(Subscribe(("A",)), 50.0, 0)
    with pytest.raises(RateLimitedError, match="Rate limit exceeded") as caught:
        mine.handle(Subscribe(("B",), channels=("indices",)), 50.0, 0)
    assert caught.value.retry_after_ms == 100
    assert (list(mine.subscriptions), mine.channels) == (["A"], ())
    mine.handle(Subscribe(("B",)), 50.1, 0)


def test_unsubscribing_listing_and_pinging_are_free() -> None:
    mine = on(Plan("p", rate_capacity=1, rate_refill=0.001))
    mine.handle(Subscribe(("A",)), 0, 0)
    for command in (Ping(), ListSubscriptions(), Unsubscribe(("A",))):
        for _ in range(3):
            mine.handle(command, 0, 0)


def test_the_plan_says_how_often_a_client_may_call() -> None:
    """The numbers of the protocol: a hundred at once, then ten a second."""
    mine = session()
    for _ in range(100):
        mine.spend(0)
    with pytest.raises(RateLimitedError):
        mine.spend(0)
    for _ in range(10):
        mine.spend(1)
    with pytest.raises(RateLimitedError):
        mine.spend(1)


def test_unsubscribing_confirms_what_is_certainly_not_watched() -> None:
    mine = session()
    mine.handle(Subscribe(("AAPL", "MSFT")), 0, 0)
    reply, effects = mine.handle(Unsubscribe(("aapl", "TSLA", "!", "AAPL")), 0, 0)
    assert reply == Unsubscribed(("AAPL", "TSLA"), None)
    assert effects == [Leave("AAPL")]
    assert list(mine.subscriptions) == ["MSFT"]


def test_channels_are_joined_once_and_refused_where_the_plan_does_not_cover_them() -> None:
    mine = on(Plan("p", channels=("indices", "movers")))
    reply, effects = mine.handle(Subscribe((), channels=("indices", "sectors", "indices")), 0, 0)
    assert reply == Subscribed((), ("indices",), ("sectors: not entitled",))
    assert effects == [JoinChannel("indices")]
    _, again = mine.handle(Subscribe((), channels=("indices", "movers")), 0, 0)
    assert again == [JoinChannel("movers")]
    assert mine.channels == ("indices", "movers")


def test_channels_are_left() -> None:
    mine = session()
    mine.handle(Subscribe((), channels=("indices", "movers")), 0, 0)
    reply, effects = mine.handle(Unsubscribe((), channels=("indices", "sectors")), 0, 0)
    assert reply == Unsubscribed((), ("indices", "sectors"))
    assert effects == [LeaveChannel("indices")]
    assert mine.channels == ("movers",)


@pytest.mark.parametrize(
    "command", [Subscribe(("A",), channels=("indices", "x")), Unsubscribe((), ("indices", "x"))]
)
def test_a_channel_that_does_not_exist_refuses_the_call(command: Subscribe | Unsubscribe) -> None:
    mine = session()
    with pytest.raises(InvalidMessageError, match="no such channel; there are indices, sectors") as caught:
        mine.handle(command, 0, 0)
    assert caught.value.path == "channels[1]"
    assert (mine.subscriptions, mine.channels) == ({}, ())


def test_the_list_of_subscriptions_says_how_each_is_delivered() -> None:
    mine = session()
    mine.handle(Subscribe(("A",), channels=("movers",)), 0, 0)
    mine.handle(Subscribe(("B",), mode="every", max_rate=2), 0, 0)
    held = (latest("A"), Subscription("B", "every", 2))
    assert mine.handle(ListSubscriptions(), 0, 0) == (Subscriptions(held, ("movers",)), [])


def test_a_ping_is_answered_with_the_servers_time() -> None:
    assert session().handle(Ping(), 5.0, 1_234) == (Pong(1_234), [])


def test_a_symbol_that_is_asked_for_must_be_one_and_allowed() -> None:
    mine = session(principal(symbols=["AAPL"]))
    assert mine.require_symbol("aapl") == "AAPL"
    with pytest.raises(NotEntitledError, match="MSFT: not entitled"):
        mine.require_symbol("msft")
    with pytest.raises(InvalidMessageError, match="!: invalid symbol"):
        mine.require_symbol("!")


@pytest.mark.parametrize("other", [principal(user="u2"), principal(tenant="rival")])
def test_nobody_goes_on_under_somebody_elses_token(other: Principal) -> None:
    mine = session()
    mine.handle(Subscribe(("A",)), 0, 0)
    before = mine.principal
    with pytest.raises(AuthFailedError):
        mine.renew(other, 0)
    assert mine.principal is before


def test_a_newer_token_keeps_what_it_covers_and_leaves_the_rest() -> None:
    mine = session()
    mine.handle(Subscribe(("AAPL", "MSFT"), channels=("indices", "movers")), 0, 0)
    narrower = principal(plan=Plan("p", channels=("movers",)), symbols=["A*"])
    effects, ended = mine.renew(narrower, 0)
    assert effects == [Leave("MSFT"), LeaveChannel("indices")]
    assert ended == ("MSFT: not entitled", "indices: not entitled")
    assert (list(mine.subscriptions), mine.channels) == (["AAPL"], ("movers",))
    assert mine.principal is narrower


def test_a_newer_token_for_the_same_changes_nothing_else() -> None:
    mine = session()
    mine.handle(Subscribe(("AAPL",)), 0, 0)
    assert mine.renew(principal(expires_at_ms=2**50), 0) == ([], ())


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (Plan("fewer", max_subscriptions=1), 1),
        (Plan("no tick by tick", modes=("latest",)), 0),
    ],
    ids=["max_subscriptions", "modes"],
)
def test_a_newer_token_of_a_smaller_plan_does_not_keep_what_the_plan_lacks(plan: Plan, expected: int) -> None:
    """What a client could not subscribe to now, it does not go on watching in that way."""
    mine = session()
    mine.handle(Subscribe(("A", "B"), mode="every"), 0, 0)
    _, ended = mine.renew(principal(plan=plan), 0)
    assert len(ended) == 2 - expected
    every = [held for held in mine.subscriptions.values() if held.mode == "every"]
    assert len(every) <= expected


def test_a_newer_token_of_a_slower_plan_slows_what_is_watched() -> None:
    mine = session()
    mine.handle(Subscribe(("A",)), 0, 0)
    effects, ended = mine.renew(principal(plan=Plan("slow", max_rate=1)), 0)
    assert ended == ("A: at most 1 updates a second now",)
    assert mine.subscriptions["A"].max_rate == 1
    assert Join(latest("A", 1)) in effects


def test_a_newer_token_that_may_not_read_ends_all_that_is_read() -> None:
    mine = session()
    mine.handle(Subscribe(("A", "B"), channels=("indices",)), 0, 0)
    effects, ended = mine.renew(principal(scopes=["market:publish"]), 0)
    assert effects == [Leave("A"), Leave("B"), LeaveChannel("indices")]
    assert ended == ("A: not entitled", "B: not entitled", "indices: not entitled")
    assert (mine.subscriptions, mine.channels) == ({}, ())


def test_the_newest_subscriptions_end_where_the_plan_has_room_for_fewer() -> None:
    """Those that the token does not cover take no place of the others."""
    mine = session()
    mine.handle(Subscribe(("A", "B", "C", "D")), 0, 0)
    _, ended = mine.renew(principal(plan=Plan("two", max_subscriptions=2, symbols=("[BCD]",))), 0)
    assert list(mine.subscriptions) == ["B", "C"]
    assert ended == ("A: not entitled", "D: max subscriptions reached")


def test_whoever_changes_between_plans_gains_no_calls() -> None:
    small, large = Plan("small", rate_capacity=3), Plan("large", rate_capacity=5, rate_refill=20)
    mine = on(large)
    for _ in range(5):
        mine.spend(0)
    for plan in (small, large, small, large):
        mine.renew(principal(plan=plan), 0)
        with pytest.raises(RateLimitedError):
            mine.spend(0)
    mine.spend(0.05)
    with pytest.raises(RateLimitedError):
        mine.spend(0.05)
