"""Reads quotes without `await`, as in a notebook, with the Python SDK (pip install marketstream-sdk).

Usage: python_sync.py [SYMBOL...]      MARKETSTREAM_URL names the server, MARKETSTREAM_TOKEN the token.
"""
# ruff: noqa: INP001, S310, T201 - an example stands alone, prints, and asks the server its user names

import json
import os
import sys
import urllib.request
from itertools import islice

from marketstream_sdk import SyncMarketDataClient

URL = os.environ.get("MARKETSTREAM_URL", "http://127.0.0.1:8080")
SYMBOLS = sys.argv[1:] or ["EUR/USD", "AAPL"]


def token() -> str:
    """Return the token of the environment, or one that a server in development mode gives."""
    if given := os.environ.get("MARKETSTREAM_TOKEN"):
        return given
    with urllib.request.urlopen(f"{URL}/dev/token") as answer:
        return str(json.load(answer)["token"])


with SyncMarketDataClient(URL, token=token) as client:
    with client.stream_quotes(SYMBOLS, timeout=30) as quotes:
        for quote in islice(quotes, 10):
            print(quote.symbol, quote.mid_price, quote.spread_bps)
    now = client.get_quote(SYMBOLS[0])
    print(now.symbol, "from", now.data_source, "at", now.last_updated)
