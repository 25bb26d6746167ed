"""Has functions called with quotes by the Python SDK (pip install marketstream-sdk).

Usage: python_callback.py [SYMBOL...]      MARKETSTREAM_URL names the server, MARKETSTREAM_TOKEN the token.
"""
# ruff: noqa: INP001, S310, T201 - an example stands alone, prints, and asks the server its user names

import asyncio
import json
import os
import sys
import urllib.request

from marketstream_sdk import MarketDataClient, Quote

URL = os.environ.get("MARKETSTREAM_URL", "http://127.0.0.1:8080")
SYMBOLS = sys.argv[1:] or ["EUR/USD", "AAPL"]


def token() -> str:
    """Return the token of the environment, or one that a server in development mode gives."""
    if given := os.environ.get("MARKETSTREAM_TOKEN"):
        return given
    with urllib.request.urlopen(f"{URL}/dev/token") as answer:
        return str(json.load(answer)["token"])


def show(quote: Quote) -> None:
    """Print every new value; must not take long."""
    print(quote.symbol, quote.mid_price)


async def store(quote: Quote) -> None:
    """Take its time, as a database might: it gets the newest value next, and delays nobody else."""
    await asyncio.sleep(0.5)
    print("slowly:", quote.symbol, quote.mid_price)


async def main() -> None:
    """Run until the client gives up."""
    client = MarketDataClient(URL, token=token)
    ended = asyncio.Event()
    client.on_state(lambda state, _error: ended.set() if state == "failed" else print("state:", state))
    client.on_error(lambda error: print("error:", error))
    client.on_status(lambda status: print(status.symbol, "is", status.state))
    async with client:
        await client.subscribe(SYMBOLS, show)
        await client.subscribe(SYMBOLS, store, max_rate=5)
        print(client.get_stream_status())
        await ended.wait()


asyncio.run(main())
