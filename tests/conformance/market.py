"""Prices and quotes as back ends publish them, numbered so that a test can tell one from the next."""

import time
from itertools import count
from typing import Any

BASE_MS = int(time.time() * 1000)

_names = count(1)


def new_symbol(prefix: str = "SYM") -> str:
    """A symbol that no other test of this process uses."""
    return f"{prefix}.{next(_names)}"


def price(symbol: str, number: int, **changes: Any) -> dict[str, Any]:
    """A BestPrice whose middle is `number` and which is newer than every smaller one."""
    best = {
        "symbol": symbol,
        "bestBid": {"price": number - 0.5, "size": 10.0, "source": "a"},
        "bestAsk": {"price": number + 0.5, "size": None, "source": "b"},
        "midPrice": float(number),
        "spread": 1.0,
        "spreadBps": 1.0,
        "timestamp": BASE_MS + number,
    }
    return best | changes


def quote(symbol: str, source: str, bid: float, ask: float, number: int = 0) -> dict[str, Any]:
    """A quote of one source; a larger `number` is newer."""
    return {
        "symbol": symbol,
        "source": source,
        "bid": bid,
        "bidSize": 100,
        "ask": ask,
        "askSize": 200,
        "timestamp": BASE_MS + number,
    }


def numbers(prices: list[dict[str, Any]]) -> list[int]:
    """The numbers that prices of `price` were made with."""
    return [round(best["midPrice"]) for best in prices]
