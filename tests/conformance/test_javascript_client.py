"""Two generations of socket.io-client, each way of connecting: what they saw on one tour of the protocol.

The clients run once, side by side in one Node; the tests read what they wrote down.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.market import numbers
from tests.support.node import Node
from tests.support.server import Server

KINDS = [(generation, way) for generation in ("4.8", "3.1") for way in ("websocket", "polling", "upgrade")]
CLIENTS_OF_A_KIND = 2

Seen = dict[str, Any]


def _run(node: Node, script: str, *args: str) -> list[Any]:
    return asyncio.run(node.run(script, *args, timeout=40))


@pytest.fixture(scope="module")
def tours(node: Node, server: Server) -> dict[tuple[str, str], Seen]:
    """What each client saw, by generation and way."""
    tokens = (
        server.token(ttl=100),
        server.token(user="publisher", scopes=("market:publish",)),
        server.token(ttl=5000),
        server.token(user="u2"),
    )
    told = _run(node, "tour.mjs", server.url, *tokens)
    return {(tour["generation"], tour["way"]): tour for tour in told}


@pytest.fixture(params=KINDS, ids="-".join)
def tour(request: pytest.FixtureRequest, tours: dict[tuple[str, str], Seen]) -> Iterator[Seen]:
    """What one client saw."""
    return tours[request.param]  # type: ignore[return-value]


@pytest.fixture(scope="module")
def climbs(node: Node, server: Server) -> list[Seen]:
    """What clients saw that moved to a websocket while prices counted up."""
    publisher = server.token(user="publisher", scopes=("market:publish",))
    return _run(node, "upgrade.mjs", server.url, server.token(), publisher, str(CLIENTS_OF_A_KIND))


def _named(tour: Seen, name: str) -> list[Any]:
    return [entry[1] for entry in tour["seen"] if entry[0] == name]


def _answer(tour: Seen, name: str, index: int = 0) -> Any:
    return _named(tour, f"ack {name}")[index]


def _place(tour: Seen, name: str) -> int:
    return [entry[0] for entry in tour["seen"]].index(name)


def _odd(tour: Seen, name: str) -> list[tuple[list[Any], Any]]:
    return [(call[1:], reply) for call, reply in tour["answers"] if call[0] == name]


def test_each_way_of_connecting_is_the_one_asked_for(tour: Seen) -> None:
    first, last = {
        "websocket": ("websocket", "websocket"),
        "polling": ("polling", "polling"),
        "upgrade": (tour["first"], "websocket"),
    }[tour["way"]]
    assert (tour["first"], tour["last"]) == (first, last)


def test_connected_comes_right_after_connect_and_says_who_one_is(tour: Seen) -> None:
    """`connected` {clientId, serverTime, expiresAt, plan, limits}, never before the client's `connect`."""
    assert [entry[0] for entry in tour["seen"][:2]] == ["connect", "connected"]
    [connected] = _named(tour, "connected")
    assert set(connected) == {"clientId", "serverTime", "expiresAt", "plan", "limits"}
    assert isinstance(connected["clientId"], str)
    assert connected["plan"] == "pro"
    assert abs(connected["serverTime"] - time.time() * 1000) < 60_000
    assert 0 < connected["expiresAt"] - connected["serverTime"] <= 100_000
    assert connected["limits"]["maxSubscriptions"] == 100
    assert connected["limits"]["rateLimit"] == {"capacity": 100, "refill": 10}


def test_a_subscribe_is_answered_then_comes_the_snapshot_then_prices(tour: Seen) -> None:
    symbol = tour["symbol"]
    errors = ["BAD SYMBOL: invalid symbol"]
    assert _answer(tour, "subscribe") == {"subscribed": [symbol], "errors": errors}
    [snapshot] = _named(tour, "snapshot")
    assert list(snapshot) == ["prices"]
    assert numbers(snapshot["prices"]) == [1]
    assert _place(tour, "ack subscribe") < _place(tour, "snapshot") < _place(tour, "price")


def test_a_price_is_a_whole_best_price(tour: Seen) -> None:
    best = _named(tour, "price")[-1]
    assert best == {
        "symbol": tour["symbol"],
        "bestBid": {"price": 4.5, "size": 10, "source": "a"},
        "bestAsk": {"price": 5.5, "size": None, "source": "b"},
        "midPrice": 5,
        "spread": 1,
        "spreadBps": 1,
        "timestamp": best["timestamp"],
    }


def test_prices_never_go_back_and_end_on_the_newest(tour: Seen) -> None:
    got = numbers(_named(tour, "price"))
    assert got == sorted(set(got))
    assert got[-1] == 5


def test_nothing_comes_after_the_answer_to_unsubscribe(tour: Seen) -> None:
    assert _answer(tour, "unsubscribe") == {"unsubscribed": [tour["symbol"]]}
    after = [entry[0] for entry in tour["seen"][_place(tour, "ack unsubscribe") :]]
    assert "price" not in after
    assert "snapshot" not in after


def test_subscriptions_are_listed_with_mode_and_rate(tour: Seen) -> None:
    held = {"symbol": tour["symbol"], "mode": "latest", "maxRate": 0}
    assert _answer(tour, "subscriptions") == {"symbols": [held], "channels": []}


def test_a_ping_is_answered_with_the_time_whether_or_not_it_has_a_payload(tour: Seen) -> None:
    pongs = [answer["pong"] for answer in _named(tour, "ack ping")]
    assert len(pongs) == 3
    assert pongs == sorted(pongs)
    assert abs(pongs[0] - time.time() * 1000) < 60_000


def test_a_quote_has_every_field_of_the_protocol(tour: Seen) -> None:
    quote = _answer(tour, "get_quote")
    assert (quote["symbol"], quote["price"], quote["bid"], quote["ask"]) == (tour["symbol"], 5, 4.5, 5.5)
    assert quote["status"] == "ok"
    named = {"change", "changePercent", "volume", "timestamp", "data_source", "last_updated"}
    assert named | {"age_seconds", "retry_attempts"} <= set(quote)


def test_a_newer_token_extends_and_another_users_is_refused(tour: Seen) -> None:
    [connected] = _named(tour, "connected")
    extended, refused = _answer(tour, "authenticate"), _answer(tour, "authenticate", 1)
    assert set(extended) == {"expiresAt"}
    assert extended["expiresAt"] > connected["expiresAt"] + 4_000_000
    assert refused["code"] == "AUTH_FAILED"
    assert set(refused) == {"error", "code"}


def test_an_unknown_event_is_answered_so(tour: Seen) -> None:
    for name in ("no_such_event", "connect_timeout_of_mine"):
        [(_, reply)] = _odd(tour, name)
        assert reply["code"] == "UNKNOWN_EVENT"
        assert reply["error"]


@pytest.mark.parametrize("name", ["subscribe", "unsubscribe", "get_quote"])
def test_a_wrong_payload_is_always_answered(tour: Seen, name: str) -> None:
    """Missing, null, of another type, too many: each has its answer, and the connection lives on."""
    asked = _odd(tour, name)
    assert asked
    for payload, reply in asked:
        assert reply["code"] == "INVALID_MESSAGE", (payload, reply)
        assert reply["error"], payload


def test_a_wrong_token_in_a_call_is_answered_and_does_not_end_the_connection(tour: Seen) -> None:
    [(_, wrong_type), (_, garbage)] = _odd(tour, "authenticate")
    assert wrong_type["code"] == "INVALID_MESSAGE"
    assert garbage["code"] == "AUTH_FAILED"
    assert tour["seen"][-1] == ["disconnect", "io client disconnect"]


def test_an_upgrade_under_fire_loses_nothing_and_repeats_nothing(climbs: list[Seen]) -> None:
    """Mode every: the exact sequence from the snapshot on, whatever the moment of the upgrade."""
    every = [climb for climb in climbs if climb["mode"] == "every"]
    assert len(every) == 2 * CLIENTS_OF_A_KIND
    for climb in every:
        assert climb["prices"] == list(range(climb["snapshot"] + 1, climb["published"] + 1))
        assert climb["order"] == ["snapshot"] + ["price"] * len(climb["prices"])


def test_an_upgrade_under_fire_never_shows_an_older_value(climbs: list[Seen]) -> None:
    """Mode latest: rising only, and the last value arrives."""
    latest = [climb for climb in climbs if climb["mode"] == "latest"]
    assert len(latest) == 2 * CLIENTS_OF_A_KIND
    for climb in latest:
        got = [climb["snapshot"], *climb["prices"]]
        assert got == sorted(set(got))
        assert got[-1] == climb["published"]
