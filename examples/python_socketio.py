"""Watches best prices with python-socketio (pip install "python-socketio[asyncio_client]").

Usage: python_socketio.py [SYMBOL...]      MARKETSTREAM_URL names the server, MARKETSTREAM_TOKEN the token.
"""
# ruff: noqa: INP001, S310, T201 - an example stands alone, prints, and asks the server its user names

import asyncio
import json
import os
import sys
import urllib.request
from typing import Any

import socketio

URL = os.environ.get("MARKETSTREAM_URL", "http://127.0.0.1:8080")
NAMESPACE = "/market-data"
SYMBOLS = sys.argv[1:] or ["EUR/USD", "AAPL"]
client = socketio.AsyncClient()


def fetch_token() -> str:
    """Return a token as a server in development mode gives it to whoever asks."""
    with urllib.request.urlopen(f"{URL}/dev/token") as answer:
        return str(json.load(answer)["token"])


async def credentials() -> dict[str, str]:
    """Asked for at every connect, so a reconnect never uses a token that has ended."""
    return {"token": os.environ.get("MARKETSTREAM_TOKEN", "") or await asyncio.to_thread(fetch_token)}


async def subscribe() -> None:
    """Subscriptions belong to a connection: make them again after every connect."""
    print(await client.call("subscribe", {"symbols": SYMBOLS}, namespace=NAMESPACE))


def show(data: dict[str, Any]) -> None:
    """Print prices: a snapshot holds many best prices, a price event is one."""
    for best in data.get("prices", [data]):
        bid, ask = best["bestBid"], best["bestAsk"]
        print(best["symbol"], bid and bid["price"], ask and ask["price"], best["timestamp"])


async def renew(_warning: dict[str, Any]) -> None:
    """Go on under a newer token without a reconnect."""
    await client.call("authenticate", await credentials(), namespace=NAMESPACE)


async def main() -> None:
    """Run until it is stopped."""
    client.on("connect", subscribe, namespace=NAMESPACE)
    for event, handler in (("snapshot", show), ("price", show), ("token_expiring", renew)):
        client.on(event, handler, namespace=NAMESPACE)
    await client.connect(URL, namespaces=[NAMESPACE], auth=credentials, transports=["websocket"])
    await client.wait()


asyncio.run(main())
