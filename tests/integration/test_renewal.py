"""A newer token on real connections of every edge: what it does not allow ends, and the client is told."""

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.watcher import watching
from tests.support.eventually import eventually
from tests.support.plain import LANGUAGES, call, plain, price_of, subscribe
from tests.support.server import running_server

PLANS = """
[plans.pro]
[plans.small]
rate_limit = { capacity = 3, refill = 0.01 }
[plans.large]
rate_limit = { capacity = 6, refill = 0.01 }
[plans.two]
max_connections = 2
[plans.one]
max_connections = 1
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Settings with plans of the test's own."""
    file = tmp_path / "plans.toml"
    file.write_text(PLANS)
    return {"MARKETSTREAM_AUTH__PLANS_FILE": str(file), "MARKETSTREAM_AUTH__DEFAULT_PLAN": "pro"}


def priced(symbol: str, bid: float) -> dict[str, Any]:
    return {"symbol": symbol, "bestBid": {"price": bid, "source": "x"}, "midPrice": bid}


async def test_socketio_clients_are_told_what_a_newer_token_ends(env: dict[str, str]) -> None:
    async with running_server(env=env) as server, watching(server, server.token()) as client:
        await client.call("subscribe", {"symbols": ["A", "B"], "channels": ["indices"]})
        answer = await client.call("authenticate", {"token": server.token(symbols=["A"])})
        assert answer["errors"] == ["B: not entitled"]
        await eventually(lambda: client.named("error"), what="the word")
        assert client.named("error") == [{"code": "NOT_ENTITLED", "message": "B: not entitled"}]
        answer = await client.call("authenticate", {"token": server.token(scopes=["market:publish"])})
        assert answer["errors"] == ["A: not entitled", "indices: not entitled"]
        await server.publish(prices=[priced("A", 1), priced("B", 1)])
        assert (await client.call("subscribe", {"symbols": ["A"]}))["code"] == "NOT_ENTITLED"
        assert (await client.call("get_quote", {"symbol": "A"}))["code"] == "NOT_ENTITLED"
        assert client.named("price") == []


@pytest.mark.parametrize("language", LANGUAGES)
async def test_plain_clients_are_told_what_a_newer_token_ends(env: dict[str, str], language: str) -> None:
    async with running_server(env=env) as server, plain(server.url, server.token()) as client:
        await client.ask(subscribe(language, "A", "B"), "subscribed")
        asked = call(language, "authenticate", token=server.token(symbols=["A"]))
        answer = await client.ask(asked, "authenticated")
        assert answer.get("data", answer)["errors"] == ["B: not entitled"]
        told = await client.named("error")
        assert told.get("data", told)["message"] == "B: not entitled"
        await server.publish(prices=[priced("B", 5), priced("A", 7)])
        found = await client.until(lambda message: price_of(message) is not None)
        assert price_of(found) == 7


async def test_alternating_tokens_of_two_plans_gives_no_more_calls(env: dict[str, str]) -> None:
    async with (
        running_server(env=env) as server,
        watching(server, server.token(plan="large")) as client,
    ):
        taken = 0
        for plan in ("small", "large") * 4:
            for _ in range(4):
                taken += "subscribed" in await client.call("subscribe", {"symbols": ["A"]})
            await client.call("authenticate", {"token": server.token(plan=plan)})
        assert taken <= 6


async def test_connections_that_the_newer_plan_does_not_allow_end(env: dict[str, str]) -> None:
    async with (
        running_server(env=env) as server,
        watching(server, server.token(plan="two")) as first,
        plain(server.url, server.token(plan="two")) as second,
    ):
        code = await _code(second, server.token(plan="one"))
        assert code == ("CONNECTION_LIMIT", 4429)
        answer = await first.call("authenticate", {"token": server.token(plan="one")})
        assert "expiresAt" in answer


async def _code(client: Any, token: str) -> tuple[str, int | None]:
    answer = await client.ask(call("action", "authenticate", token=token), "authenticated")
    return answer["code"], await client.end()
