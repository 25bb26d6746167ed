"""Watches prices over a plain WebSocket, with any library that speaks it; here aiohttp (pip install aiohttp).

Usage: plain_websocket.py [SYMBOL...]      MARKETSTREAM_URL names the server, MARKETSTREAM_TOKEN the token.
"""
# ruff: noqa: INP001, T201 - an example stands alone and prints

import asyncio
import os
import sys
from typing import Any

import aiohttp

URL = os.environ.get("MARKETSTREAM_URL", "http://127.0.0.1:8080")
SYMBOLS = sys.argv[1:] or ["EUR/USD", "AAPL"]
PAUSE = 2


async def get_token(session: aiohttp.ClientSession) -> str:
    """Return the token of the environment, or one that a server in development mode gives."""
    if token := os.environ.get("MARKETSTREAM_TOKEN"):
        return token
    async with session.get(f"{URL}/dev/token") as answer:
        return str((await answer.json())["token"])


def show(message: dict[str, Any]) -> None:
    """Answer have a `status`, what the server says by itself has a `type`."""
    if message.get("type") == "price_update":
        print(message["symbol"], message["price"], message["timestamp"])
    elif message.get("status") == "subscribed":
        names = message.get("symbols") or [message["symbol"]]
        print("watching", *names, *message.get("errors", []))
    elif "code" in message:
        print(message["code"], message["message"], file=sys.stderr)


async def watch(session: aiohttp.ClientSession) -> int | None:
    """Return one connection: subscribes and shows what comes; return the close code."""
    headers = {"Authorization": f"Bearer {await get_token(session)}"}
    async with session.ws_connect(f"{URL}/ws", headers=headers) as socket:
        await socket.send_json({"action": "subscribe", "symbols": SYMBOLS})
        async for message in socket:
            show(message.json())
        return socket.close_code


async def main() -> None:
    """Run until it is stopped; comes back when the connection ends, with a token that is new."""
    async with aiohttp.ClientSession() as session:
        while True:
            print("closed:", await watch(session), file=sys.stderr)
            await asyncio.sleep(PAUSE)


asyncio.run(main())
