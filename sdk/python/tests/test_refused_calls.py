"""A call that is refused fails, or is made again, by itself: the connection and what else it carries stay."""

import asyncio
import json
from typing import Any

import pytest

from marketstream_sdk import (
    EventSubscriptionError,
    MarketDataClient,
    Quote,
    RequestError,
    SubscriptionError,
    SyncMarketDataClient,
)
from marketstream_sdk.link import Pace
from rehearsal.cases import golden
from rehearsal.refusing import Refusing, refusing

CASES = [
    pytest.param(transport, case, id=f"{transport}: {case['rule']}")
    for case in json.loads(golden("sdk/refused_calls.json"))
    for transport in ("socketio", "sse")
    if transport in case
]


def ignore(_given: object) -> None:
    """Hears and does nothing."""


async def nap(_seconds: float) -> None:
    """Passes the time between attempts at once."""
    await asyncio.sleep(0)


async def make(client: MarketDataClient, call: str, outcome: str) -> None:
    """Makes the call that is refused, and checks what becomes of it."""
    if call == "get_quote":
        with pytest.raises(RequestError) as caught:
            await client.get_quote("B")
        assert caught.value.code == outcome
    elif outcome == "again" and call == "subscribe":
        assert await client.subscribe("B", ignore) == ("B",)
    elif outcome == "again":
        await client.subscribe_events("mine", ignore, types="pattern")
        assert client.get_stream_status().wanted_events == ("mine",)
    elif call == "subscribe":
        with pytest.raises(SubscriptionError) as refused:
            await client.subscribe("B", ignore)
        assert refused.value.symbol == "B"
    else:
        with pytest.raises(EventSubscriptionError) as events:
            await client.subscribe_events("mine", ignore, types="pattern")
        assert events.value.code == outcome


async def prices_flow(server: Refusing, received: "asyncio.Queue[Quote]") -> None:
    """Waits for a price that is sent now."""
    before = 0 if received.empty() else received.get_nowait().timestamp
    await server.price(before + 1)
    async with asyncio.timeout(5):
        assert (await received.get()).timestamp == before + 1


@pytest.mark.parametrize(("transport", "case"), CASES)
async def test_a_refused_call_fails_alone(transport: Any, case: dict[str, Any]) -> None:
    """The cases are those of the other client libraries."""
    states: list[str] = []
    received: asyncio.Queue[Quote] = asyncio.Queue()
    async with refusing(transport) as (server, url):
        client = MarketDataClient(
            url, token="t", transport=transport, call_timeout=0.4, pace=Pace(nap, lambda: 0.0)
        )
        client.on_state(lambda state, _error: states.append(state))
        async with client:
            await client.subscribe("A", received.put_nowait)
            await prices_flow(server, received)
            server.refusal = (case["call"], case[transport])
            await make(client, case["call"], case["outcome"])
            async with asyncio.timeout(5):
                while server.refusal is not None:  # noqa: ASYNC110 - the far side has no event to wait for
                    await asyncio.sleep(0.01)
            await server.price(2)
            async with asyncio.timeout(5):
                assert (await received.get()).timestamp == 2
            assert states == ["connecting", "connected"]
            assert "A" in client.get_stream_status().subscribed_symbols
        assert server.connections <= 1


@pytest.mark.parametrize("transport", ["socketio", "sse"])
async def test_the_client_without_an_event_loop_goes_on_too(transport: Any) -> None:
    """It is the same client in a thread."""
    answers = {
        "socketio": {"error": "no", "code": "INVALID_MESSAGE"},
        "sse": {"status": 400, "code": "INVALID_MESSAGE", "message": "no"},
    }

    def run(url: str) -> list[str]:
        states: list[str] = []
        with SyncMarketDataClient(url, token="t", transport=transport) as client:
            client.on_state(lambda state, _error: states.append(state))
            assert client.subscribe("A", ignore) == ("A",)
            server.refusal = ("subscribe", answers[transport])
            with pytest.raises(SubscriptionError):
                client.subscribe("B", ignore)
            server.refusal = ("get_quote", answers[transport])
            with pytest.raises(RequestError):
                client.get_quote("B")
            assert client.subscribe("C", ignore) == ("C",)
            assert client.is_connected
        return [state for state in states if state == "reconnecting"]

    async with refusing(transport) as (server, url):
        assert await asyncio.to_thread(run, url) == []
