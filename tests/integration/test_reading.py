"""Reading from real servers: in development mode without key or network, and with a cache that is shared."""

from typing import Any

import aiohttp
import pytest

from tests.support.eventually import eventually
from tests.support.server import UNLIMITED, Server, running_server
from tests.support.valkey import Valkey

FLAGS = ("--dev",)
FEEDS = ("synthetic",)
PATHS = (
    *("overview", "indices", "sectors", "movers?type=active", "sentiment", "quote/EUR%2FUSD"),
    *("historical/AAPL?period=1mo", "profile/AAPL", "news/AAPL", "providers", "cache/stats"),
)


async def get(server: Server, path: str) -> tuple[int, Any]:
    """Status and JSON of a GET below the market's path."""
    headers = {"Authorization": f"Bearer {server.token(plan=UNLIMITED, scopes=('market:read', 'admin'))}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{server.url}/api/v1/market/{path}") as response,
    ):
        return response.status, await response.json()


@pytest.mark.parametrize("path", PATHS)
async def test_development_mode_answers_everything_and_says_that_it_is_made_up(
    server: Server, path: str
) -> None:
    status, body = await get(server, path)
    assert status == 200
    if "data_source" in body:
        assert (body["data_source"], body["status"]) == ("synthetic", "ok")


async def test_a_quote_is_near_the_live_price_of_the_feed(server: Server) -> None:
    _, body = await get(server, "quote/AAPL")
    assert body["bid"] <= body["price"] <= body["ask"]
    assert body["price"] == pytest.approx(228.5, rel=0.01)
    assert body["price"] - body["change"] == pytest.approx(
        body["price"] / (1 + body["changePercent"] / 100), rel=1e-4
    )


async def test_servers_on_one_redis_share_what_they_were_answered(valkey: Valkey) -> None:
    """The keys in Redis, and how long they live, are those that were promised."""
    bus = ("--bus", valkey.url)
    async with running_server(*FLAGS, *bus) as first, running_server(*FLAGS, *bus) as second:

        async def answered() -> bool:
            status, _ = await get(first, "quote/AAPL")
            return status == 200

        await eventually(answered, what="a quote")
        _, mine = await get(first, "quote/AAPL")
        _, other = await get(second, "quote/AAPL")
        assert (other["last_updated"], other["retry_attempts"]) == (mine["last_updated"], 0)
        await get(first, "overview")
        with valkey.client() as client:
            found = {
                key.decode(): client.ttl(key) for key in client.scan_iter("*") if b"marketstream" not in key
            }
    ttls = {key: seconds for key, seconds in found.items() if key.startswith("market:")}
    assert ttls.keys() == {
        *("market:indices", "market:sectors", "market:sentiment"),
        *("market:movers:gainers", "market:movers:losers", "market:movers:active"),
    }
    assert 100 < ttls["market:indices"] <= 120
    assert 280 < ttls["market:sectors"] <= 300
    assert 40 < found["quote:AAPL"] <= 60
    assert 340 < found["fallback:quote:AAPL"] <= 360
    assert 86_400 < found["fallback:market:indices"] <= 86_400 + 120
