"""Reads several streams at once over one connection with the Python SDK (pip install marketstream-sdk).

Usage: python_concurrent.py [SYMBOL...]      MARKETSTREAM_URL names the server, MARKETSTREAM_TOKEN the token.
"""
# ruff: noqa: INP001, S310, T201 - an example stands alone, prints, and asks the server its user names

import asyncio
import json
import os
import sys
import urllib.request

from marketstream_sdk import MarketDataClient

URL = os.environ.get("MARKETSTREAM_URL", "http://127.0.0.1:8080")
SYMBOLS = sys.argv[1:] or ["EUR/USD", "AAPL"]
SECONDS = 3


def token() -> str:
    """Return the token of the environment, or one that a server in development mode gives."""
    if given := os.environ.get("MARKETSTREAM_TOKEN"):
        return given
    with urllib.request.urlopen(f"{URL}/dev/token") as answer:
        return str(json.load(answer)["token"])


async def survey(client: MarketDataClient, symbol: str) -> None:
    """Look at one symbol for a while; the stream cleans up when its block ends."""
    count, newest = 0, None
    async with client.stream_quotes([symbol]) as quotes:
        try:
            async with asyncio.timeout(SECONDS):
                async for quote in quotes:
                    count, newest = count + 1, quote.mid_price
        except TimeoutError:
            pass
    print(f"{symbol}: {count} quotes, the newest {newest}")


async def main() -> None:
    """One stream a symbol; each sees its own quotes, none waits for another."""
    async with MarketDataClient(URL, token=token) as client, asyncio.TaskGroup() as group:
        for symbol in SYMBOLS:
            group.create_task(survey(client, symbol))


asyncio.run(main())
