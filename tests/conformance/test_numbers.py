"""Numbers in queries and headers are digits from 0 to 9: what only Python would read as a number is none."""

import json
from typing import Any

import aiohttp
import pytest

from tests.conformance.market import new_symbol, price
from tests.conformance.stream import request, streaming
from tests.support.server import Server

FOREIGN = ["1_0", "\u0661\u0660", "\uff11", " 1", "1 ", "inf", "-inf", "nan", "0x10", "1\n", "--1", "\u00b2"]


async def _refusal(answer: aiohttp.ClientResponse) -> tuple[int, Any]:
    return answer.status, json.loads(await answer.text())["error"].get("details")


@pytest.mark.parametrize("text", FOREIGN, ids=repr)
async def test_a_rate_that_is_no_number_is_refused(server: Server, text: str) -> None:
    async with request(server, {"symbols": "A", "maxRate": text}) as answer:
        assert await _refusal(answer) == (400, {"path": "maxRate"})


@pytest.mark.parametrize("text", ["5", "0.5", "1e3", "0"])
async def test_a_rate_is_a_number_as_in_json(server: Server, text: str) -> None:
    async with request(server, {"symbols": "A", "maxRate": text}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("text", [*FOREIGN, "1.0", "1e1", "+1", "9" * 5_000], ids=lambda text: repr(text[:9]))
async def test_a_limit_that_is_no_whole_number_is_refused(server: Server, text: str) -> None:
    headers = {"Authorization": f"Bearer {server.token()}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{server.url}/api/v1/market/news/AAPL", params={"limit": text}) as answer,
    ):
        assert await _refusal(answer) == (400, {"path": "limit"})


async def test_an_event_id_in_digits_of_another_script_leaves_out_nothing(server: Server) -> None:
    """It is no id of this server, like any other text."""
    symbol = new_symbol()
    await server.publish(prices=[price(symbol, 1)])
    async with streaming(server, symbol) as stream:
        ident = (await stream.event("price"))["id"]
    assert ident is not None
    foreign = ident.translate({ord("0") + digit: 0x0660 + digit for digit in range(10)})
    async with streaming(server, symbol, last_event_id=foreign) as stream:
        assert (await stream.event("price")).number == 1
    cursor = ident.rpartition("@")[2]
    for changed in (f"{cursor[:3]}_{cursor[3:]}", f" {cursor}", f"+{cursor}"):
        async with streaming(server, symbol, last_event_id=ident.replace(cursor, changed)) as stream:
            assert (await stream.event("price")).number == 1
