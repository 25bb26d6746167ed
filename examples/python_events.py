"""Hears what happens in the market by the Python SDK (pip install marketstream-sdk).

Usage: python_events.py [SYMBOL...]      MARKETSTREAM_URL names the server, MARKETSTREAM_TOKEN the token.
"""
# ruff: noqa: INP001, S310, T201 - an example stands alone, prints, and asks the server its user names

import asyncio
import json
import os
import sys
import urllib.request

from marketstream_sdk import MarketDataClient, MarketEvent

URL = os.environ.get("MARKETSTREAM_URL", "http://127.0.0.1:8080")
SYMBOLS = sys.argv[1:] or ["EUR/USD", "AAPL"]


def token() -> str:
    """Return the token of the environment, or one that a server in development mode gives."""
    if given := os.environ.get("MARKETSTREAM_TOKEN"):
        return given
    with urllib.request.urlopen(f"{URL}/dev/token") as answer:
        return str(json.load(answer)["token"])


def publish(**event: object) -> None:
    """Tell the server what happened, as a back end does that watches the market."""
    headers = {"Authorization": f"Bearer {token()}", "Content-Type": "application/json"}
    body = json.dumps(event).encode()
    urllib.request.urlopen(urllib.request.Request(f"{URL}/api/v1/events", body, headers)).close()


def alarm(event: MarketEvent) -> None:
    """Print each urgent event, whatever it is about; must not take long."""
    print("urgent:", event.priority, event.name, event.symbol or "everything")


async def main() -> None:
    """Run until it is stopped."""
    async with MarketDataClient(URL, token=token) as client:
        client.on_error(lambda error: print("error:", error))
        client.on_events_dropped(lambda count: print(count, "events were lost"))
        await client.subscribe_events("example urgent", alarm, min_priority="HIGH")
        patterns = client.stream_events(
            "example patterns",
            types="pattern",
            symbols=SYMBOLS,
            tiers=["daily", "intraday"],
            min_confidence=0.6,
        )
        pattern = {"type": "pattern", "name": "flag", "symbol": SYMBOLS[0], "tier": "daily"}
        for confidence, priority in ((0.5, "LOW"), (0.7, "LOW"), (0.9, "HIGH")):
            await asyncio.to_thread(publish, **pattern, confidence=confidence, priority=priority)
        async for event in patterns:
            print(event.symbol, event.tier, event.name, event.confidence)


asyncio.run(main())
