"""Publishes a pattern and an alert, from a back end in Python.

Usage: events_publish.py [SYMBOL]    MARKETSTREAM_URL: a server or its Redis; MARKETSTREAM_TOKEN: the token.
"""
# ruff: noqa: INP001, S310, T201 - an example stands alone, prints, and asks the server its user names

import asyncio
import json
import os
import sys
import urllib.request

from marketstream.patterns import PatternPublisher

URL = os.environ.get("MARKETSTREAM_URL", "http://127.0.0.1:8080")
SYMBOL = sys.argv[1] if len(sys.argv) > 1 else "AAPL"


def get_token() -> str | None:
    """Return the token of the environment, or one that a server in development mode gives.

    Redis needs none.
    """
    if (token := os.environ.get("MARKETSTREAM_TOKEN")) or not URL.startswith("http"):
        return token
    with urllib.request.urlopen(f"{URL}/dev/token") as answer:
        return str(json.load(answer)["token"])


async def main() -> None:
    """Publish, and print the ids."""
    async with PatternPublisher(URL, token=get_token()) as publisher:
        seen = await publisher.pattern(
            "double-bottom", SYMBOL, tier="daily", confidence=0.93, data={"target": 231.5}, lasts=3600
        )
        print("pattern", seen)
        # CRITICAL overtakes everything, and knows no limit.
        told = await publisher.alert("trading-halt", symbol=SYMBOL, priority="CRITICAL")
        print("alert", told)


if __name__ == "__main__":
    asyncio.run(main())
