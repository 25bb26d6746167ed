"""Watches best prices with the Python SDK (pip install marketstream-sdk).

Usage: python_basic.py [SYMBOL...]      MARKETSTREAM_URL names the server, MARKETSTREAM_TOKEN the token.
"""
# ruff: noqa: INP001, S310, T201 - an example stands alone, prints, and asks the server its user names

import asyncio
import json
import os
import sys
import urllib.request

from marketstream_sdk import MarketDataClient, MarketDataError

URL = os.environ.get("MARKETSTREAM_URL", "http://127.0.0.1:8080")
SYMBOLS = sys.argv[1:] or ["EUR/USD", "AAPL"]


def fetch_token() -> str:
    """Return a token as a server in development mode gives it to whoever asks."""
    with urllib.request.urlopen(f"{URL}/dev/token") as answer:
        return str(json.load(answer)["token"])


async def token() -> str:
    """Asked for each connection and when a token ends soon, so the stream outlives every token."""
    return os.environ.get("MARKETSTREAM_TOKEN", "") or await asyncio.to_thread(fetch_token)


async def main() -> None:
    """Run until it is stopped; reconnects, and subscribe again, by itself."""
    async with MarketDataClient(URL, token=token) as client:
        async for quote in client.stream_quotes(SYMBOLS):
            if quote.best_bid and quote.best_ask:
                print(quote.symbol, quote.best_bid.price, quote.best_ask.price, quote.spread_bps)


try:
    asyncio.run(main())
except MarketDataError as error:
    sys.exit(f"{error.code}: {error}")
