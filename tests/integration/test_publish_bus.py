"""`marketstream publish --bus`: a pipe reaches the clients of real servers without a token."""

import asyncio
import json
import sys
from typing import Any

import pytest

from tests.conformance.market import new_symbol, price, quote
from tests.conformance.raw import raw_socket
from tests.support.gateways import gateways, next_price, subscribe
from tests.support.program import clean_environment
from tests.support.valkey import Valkey

pytestmark = pytest.mark.slow


async def publish(bus: str, *values: Any) -> tuple[int | None, list[str]]:
    """Runs the command with a line for each value; returns its exit code and what it said."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "marketstream", "publish", "--bus", bus),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean_environment(),
    )
    _, err = await program.communicate("\n".join(map(json.dumps, values)).encode())
    return program.returncode, err.decode().splitlines()


async def test_prices_and_quotes_reach_the_clients_of_every_server(valkey: Valkey) -> None:
    one, other = new_symbol("PIPE"), new_symbol("PIPE")
    async with (
        gateways(valkey.url) as (first, second),
        raw_socket(first.url, token=first.token()) as here,
        raw_socket(second.url, token=second.token()) as there,
    ):
        for socket in (here, there):
            await subscribe(socket, one, other)
        values = (price(one, 3), quote(other, "a", 6.5, 7.5, 1), quote(other, "b", 6.75, 7.25, 2))
        assert await publish(valkey.url, *values) == (0, ["3 published, 0 bad"])
        for socket in (here, there):
            await next_price(socket, 3)
            await next_price(socket, 7)


async def test_what_the_server_rejects_is_told_by_the_number_of_its_line(valkey: Valkey) -> None:
    symbol = new_symbol("PIPE")
    async with gateways(valkey.url):
        code, said = await publish(valkey.url, price(symbol, 2), price("no symbol", 1), price(symbol, 1))
    assert code == 1
    assert [text.split(":")[0] for text in said] == ["line 2", "line 3", "1 published, 2 bad"]


async def test_the_death_of_the_server_that_takes_publications_costs_no_line(valkey: Valkey) -> None:
    """Whichever of the two it is, the other one answers within seconds."""
    symbol = new_symbol("PIPE")
    async with (
        gateways(valkey.url) as (first, second),
        raw_socket(second.url, token=second.token()) as there,
    ):
        await subscribe(there, symbol)
        assert await publish(valkey.url, price(symbol, 1)) == (0, ["1 published, 0 bad"])
        first.kill()
        assert await publish(valkey.url, price(symbol, 2)) == (0, ["1 published, 0 bad"])
        await next_price(there, 2)


async def test_a_bus_without_a_server_is_told_in_a_sentence(valkey: Valkey) -> None:
    code, said = await publish(valkey.url, price(new_symbol("PIPE"), 1))
    assert code == 1
    assert said == ["0 published, 0 bad", "marketstream: no server on this bus takes publications"]
