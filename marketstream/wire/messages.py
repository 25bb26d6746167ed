"""Encode the messages of the server that all dialects share; `price` encodes prices.

Each function makes one `Frame`; a dialect only wraps it. `price` is the single place where a price
becomes JSON.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from marketstream.core.delivery.commands import Authenticated, Subscription
from marketstream.core.delivery.entitlements import Plan
from marketstream.core.delivery.frame import Frame, Trade
from marketstream.core.market.model import BestPrice, Side, Status
from marketstream.errors import InvalidMessageError
from marketstream.wire.json import dumps, dumps_as_is, loads, whole

PRICE = "price"
"""Event of a best price."""

STATUS = "status"
"""Event of how far a symbol's prices can be trusted."""

CHANNEL_EVENTS = {
    "indices": "market_update",
    "movers": "market_update",
    "sectors": "sector_update",
    "sentiment": "sentiment_update",
}


def status_key(symbol: str) -> str:
    """Return the key under which the states of one symbol replace each other."""
    return f"status {symbol}"


def price(best: BestPrice, tenant: str | None = None, withheld: frozenset[str] = frozenset()) -> Frame:
    """Event `price`: BestPrice as the protocol writes it."""
    body = dumps_as_is(
        {
            "symbol": best.symbol,
            "bestBid": _side(best.best_bid),
            "bestAsk": _side(best.best_ask),
            "midPrice": whole(best.mid_price),
            "spread": whole(best.spread),
            "spreadBps": whole(best.spread_bps),
            "timestamp": best.at_ms,
        }
    )
    return Frame(
        PRICE,
        body,
        key=best.symbol,
        symbol=best.symbol,
        tenant=tenant,
        at_ms=best.at_ms,
        withheld=withheld,
        trade=None if best.last is None else (best.last, best.volume),
    )


def single_price(best: dict[str, Any], trade: Trade | None) -> float | None:
    """Return what a best price comes to in one number: the last trade, else the middle, else the only side.

    Args:
        best: A best price as the protocol writes it.
        trade: Of its frame.
    """
    if trade is not None:
        return trade[0]
    if best["midPrice"] is not None:
        middle: float = best["midPrice"]
        return middle
    return next((best[side]["price"] for side in ("bestBid", "bestAsk") if best[side]), None)


def snapshot(prices: Iterable[Frame]) -> Frame:
    """Event `snapshot` {prices: BestPrice[]}, from bodies that were encoded before."""
    return Frame("snapshot", b'{"prices":[' + b",".join(frame.body for frame in prices) + b"]}")


def status(change: Status, tenant: str | None = None) -> Frame:
    """Event `status` {symbol, state, source, since, reason?}."""
    said: dict[str, Any] = {
        "symbol": change.symbol,
        "state": change.state,
        "source": change.source,
        "since": change.since_ms,
    }
    if change.reason is not None:
        said["reason"] = change.reason
    body = dumps(said)
    return Frame(STATUS, body, key=status_key(change.symbol), symbol=change.symbol, tenant=tenant)


def delayed(live: Frame) -> Frame:
    """Return what a `status` frame that says `live` comes to for those who see the symbol late."""
    return status(Status(live.symbol, "delayed", None, loads(live.body)["since"]))


def is_live(frame: Frame) -> bool:
    """Return whether a `status` frame says that its symbol is live."""
    return b'"state":"live"' in frame.body


def state_of(frame: Frame) -> str:
    """Return the state that a `status` frame tells."""
    return str(loads(frame.body)["state"])


def lagged(symbol: str, missed: int) -> Frame:
    """Event `lagged` {symbol, missed}: values of mode `every` that were lost."""
    return Frame("lagged", dumps({"symbol": symbol, "missed": missed}))


def heartbeat(at_ms: int) -> Frame:
    """Event `heartbeat` {timestamp}."""
    return Frame("heartbeat", b'{"timestamp":%d}' % at_ms, key="heartbeat")


def error(code: str, message: str) -> Frame:
    """Event `error` {code, message}."""
    return Frame("error", dumps({"code": code, "message": message}))


def token_expiring(expires_at_ms: int) -> Frame:
    """Event `token_expiring` {expiresAt}."""
    return Frame("token_expiring", b'{"expiresAt":%d}' % expires_at_ms)


def connected(client_id: str, server_time_ms: int, expires_at_ms: int, plan: Plan) -> Frame:
    """Event `connected` {clientId, serverTime, expiresAt, plan, limits}."""
    return Frame(
        "connected",
        dumps(
            {
                "clientId": client_id,
                "serverTime": server_time_ms,
                "expiresAt": expires_at_ms,
                "plan": plan.name,
                "limits": limits(plan),
            }
        ),
    )


def channel_key(channel: str) -> str:
    """Return the key under which the updates of one channel replace each other."""
    return f"channel {channel}"


def channel_update(channel: str, data: object, at_ms: int) -> Frame:
    """Event `market_update`, `sector_update` or `sentiment_update` {channel, data, timestamp}."""
    body = dumps({"channel": channel, "data": data, "timestamp": at_ms})
    return Frame(CHANNEL_EVENTS[channel], body, key=channel_key(channel), at_ms=at_ms)


def custom(event: str, arguments: Sequence[object], key: str | None = None) -> Frame:
    """Return an event of a back end's own, with any number of arguments.

    Raises:
        InvalidMessageError: The name is empty, or it or an argument has no form in JSON.
    """
    if not event:
        raise InvalidMessageError("an event needs a name", path="event")
    dumps(event)
    body = b",".join(dumps(argument) for argument in arguments)
    return Frame(event, body, key=key, arity=len(arguments))


def subscribed(symbols: Sequence[str], errors: Sequence[str]) -> Frame:
    """Event `subscribed` {subscribed, errors}, for an edge that has no acknowledgements."""
    return Frame("subscribed", dumps({"subscribed": list(symbols), "errors": list(errors)}))


def limits(plan: Plan) -> dict[str, Any]:
    """Return what a plan allows, for the client to respect."""
    return {
        "maxSubscriptions": plan.max_subscriptions,
        "maxConnections": plan.max_connections,
        "rateLimit": {"capacity": plan.rate_capacity, "refill": plan.rate_refill},
        "maxRate": plan.max_rate,
        "delay": plan.delay,
        "modes": list(plan.modes),
    }


def authenticated(reply: Authenticated) -> dict[str, Any]:
    """Return what is answered to a newer token: its end, and what it does not allow any more."""
    said: dict[str, Any] = {"expiresAt": reply.expires_at_ms}
    return said | ({"errors": list(reply.ended)} if reply.ended else {})


def subscription(held: Subscription) -> dict[str, Any]:
    """Return one entry of a list of subscriptions."""
    return {"symbol": held.symbol, "mode": held.mode, "maxRate": held.max_rate}


def _side(side: Side | None) -> dict[str, Any] | None:
    if side is None:
        return None
    return {"price": whole(side.price), "size": whole(side.size), "source": side.source}
