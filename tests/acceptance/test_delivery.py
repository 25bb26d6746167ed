"""From a vendor or a back end to a dashboard: one server, a vendor that tests play, a client."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.conformance.market import new_symbol, price
from tests.support.alpaca import KEY, SECRET, FakeAlpaca, Line, quote, serving_alpaca
from tests.support.plain import Plain, call, plain, subscribe
from tests.support.server import Server, running_server

ACCOUNT = {"ALPACA_API_KEY": KEY, "ALPACA_API_SECRET": SECRET}
SOON_MS = 100
COUNT = 100


@pytest.fixture
async def vendor() -> AsyncIterator[FakeAlpaca]:
    async with serving_alpaca() as fake:
        yield fake


@asynccontextmanager
async def serving(vendor: FakeAlpaca) -> AsyncIterator[Server]:
    """A server that is fed by the vendor."""
    async with running_server(feeds=(f"alpaca?url={vendor.url}",), env=ACCOUNT) as server:
        yield server


def now_ms() -> int:
    return int(time.time() * 1000)


async def test_a_price_is_with_the_client_within_100_ms_of_its_publication(vendor: FakeAlpaca) -> None:
    """The quickest of fifty, each sent after the one before: what else a machine is busy with is not ours."""
    symbol = new_symbol("SOON")
    async with serving(vendor) as server, plain(server.url, server.token()) as client:
        await client.ask(subscribe("action", symbol), "subscribed")
        late = []
        for number in range(1, 51):
            began = time.monotonic()
            await server.publish(prices=[price(symbol, number)])
            await client.price(number)
            late.append((time.monotonic() - began) * 1000)
        assert min(late) < SOON_MS
        assert client.prices == list(range(1, 51))


@pytest.mark.parametrize("language", ["action", "type"])
async def test_five_subscriptions_to_the_same_are_one(vendor: FakeAlpaca, language: str) -> None:
    """Each is acknowledged; the client gets each price once, and the vendor is asked once."""
    async with serving(vendor) as server, plain(server.url, server.token()) as client:
        for _ in range(5):
            assert "AAPL" in str(await client.ask(subscribe(language, "AAPL"), "subscribed"))
        line = await vendor.subscribed({"AAPL"})
        for bid in (10.0, 20.0):
            await line.send(quote("AAPL", bid, bid + 2, now_ms()))
            await client.price(bid + 1)
        await client.fence(language)
        assert client.prices == [11.0, 21.0]
        assert [request["action"] for request in line.requests].count("subscribe") == 1
        state = await held(client, language)
        assert state.count("AAPL") == 1


async def held(client: Plain, language: str) -> str:
    """What the server says the client is subscribed to."""
    await client.say(call(language, "get_connection_state" if language == "action" else "subscriptions"))
    return str(await client.until(lambda message: "subscriptions" in str(message)))


async def test_a_hundred_prices_in_a_second_arrive_in_order_and_end_on_the_last(vendor: FakeAlpaca) -> None:
    """All of them where a client asks for all; where it does not, the newest is never missing."""
    async with (
        serving(vendor) as server,
        plain(server.url, server.token()) as every,
        plain(server.url, server.token()) as latest,
    ):
        await every.ask(subscribe("action", "AAPL", high_frequency=True), "subscribed")
        await latest.ask(subscribe("action", "AAPL"), "subscribed")
        line = await vendor.subscribed({"AAPL"})
        await burst(line)
        for client in (every, latest):
            await client.price(COUNT + 0.5)
        wanted = [number + 0.5 for number in range(1, COUNT + 1)]
        assert every.prices == wanted
        assert latest.prices == sorted(latest.prices)


async def burst(line: Line) -> None:
    """A hundred quotes as fast as they can be sent: in less than a second."""
    began = now_ms() - COUNT
    for number in range(1, COUNT + 1):
        await line.send(quote("AAPL", number, number + 1, began + number))


async def test_a_vendor_that_hangs_up_is_asked_again_for_what_is_watched(vendor: FakeAlpaca) -> None:
    """The client does nothing, and is told nothing but prices."""
    async with serving(vendor) as server, plain(server.url, server.token()) as client:
        await client.ask(subscribe("action", "AAPL", "MSFT"), "subscribed")
        first = await vendor.subscribed({"AAPL", "MSFT"})
        await first.send(quote("AAPL", 10, 12, now_ms()))
        await client.price(11)
        first.abort()
        second = await vendor.subscribed({"AAPL", "MSFT"}, 2)
        await second.send(quote("AAPL", 20, 22, now_ms()), quote("MSFT", 30, 32, now_ms()))
        for expected in (21, 31):
            await client.price(expected)
        assert client.prices == [11, 21, 31]
