"""Publishes quotes by HTTP, with nothing but the standard library.

Usage: publish_http.py [SYMBOL]      MARKETSTREAM_URL names the server, MARKETSTREAM_TOKEN the token.
"""
# ruff: noqa: INP001, S310, T201 - an example stands alone, prints, and asks the server its user names

import json
import os
import sys
import time
import urllib.request

URL = os.environ.get("MARKETSTREAM_URL", "http://127.0.0.1:8080")
SYMBOL = sys.argv[1] if len(sys.argv) > 1 else "DEMO"


def get_token() -> str:
    """Return the token of the environment, or one that a server in development mode gives."""
    if token := os.environ.get("MARKETSTREAM_TOKEN"):
        return token
    with urllib.request.urlopen(f"{URL}/dev/token") as answer:
        return str(json.load(answer)["token"])


def publish(token: str, quotes: list[dict[str, object]]) -> dict[str, object]:
    """Send one batch; the answer says how many were taken, and why others were not."""
    request = urllib.request.Request(
        f"{URL}/api/v1/market/publish",
        data=json.dumps({"quotes": quotes}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return dict(json.load(answer))


def main() -> None:
    """Publish three steps of a quote, and one that cannot be used."""
    token = get_token()
    for step in range(1, 4):
        quote = {"symbol": SYMBOL, "source": "desk", "bid": 10 + step / 100, "bidSize": 100, "ask": 10.1}
        print(publish(token, [{**quote, "askSize": None, "timestamp": int(time.time() * 1000)}]))
        time.sleep(0.2)
    print(publish(token, [{"symbol": "NOT A SYMBOL", "source": "desk", "bid": 1}]))


if __name__ == "__main__":
    main()
