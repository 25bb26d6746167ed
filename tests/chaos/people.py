"""Who uses the system while it is hurt: stock clients on every edge, readers, publishers of two tenants."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from tests.chaos.schedule import PUBLISHERS
from tests.chaos.stage import FED, Part, Stage
from tests.chaos.witness import Client, Witness
from tests.support.eventually import scaled
from tests.support.node import FOLDER, Node
from tests.support.server import UNLIMITED

EDGES = ("websocket", "polling", "events", "action", "type")
LATE = "delayed"
"""Plan of those who see prices two seconds late: one client of each gateway, on an edge of `LATE_EDGES`."""

LATE_EDGES = ("websocket", "events", "type")
QUOTED = "QUOTED"
OWN = ("OWN0", "OWN1")
"""Symbols that each tenant publishes for itself, with values that tell whose they are."""
PUBLIC = "PUBLIC"
SYMBOLS = (*FED, QUOTED, *OWN, PUBLIC)
MILLIONS = {"acme": 1, "globex": 2}
OWNERS = {million: tenant for tenant, million in MILLIONS.items()}
PACE = 0.25
ANSWERED = 6.0
"""Seconds in which a question is answered, whatever has happened to whom."""

People = dict[str, tuple[Client, Part]]
"""Clients with their gateway, by name."""

NETWORK = (aiohttp.ClientError, OSError, TimeoutError)


def everybody(stage: Stage) -> People:
    """A client of each edge at each gateway and one that sees prices late, tenants by turns."""
    found: People = {}
    for at, part in enumerate(stage.gateways):
        plans = [*((edge, UNLIMITED) for edge in EDGES), (LATE_EDGES[at], LATE)]
        for number, (edge, plan) in enumerate(plans):
            tenant = PUBLISHERS[(at + number) % 2]
            client = Client(f"{plan} {edge} at {part.name}", edge, part.name, tenant, plan)
            found[client.name] = client, part
    return found


@asynccontextmanager
async def watching(node: Node, people: People, eyes: Witness) -> AsyncIterator[None]:
    """Stock clients tell a witness what they see, inside the block."""
    told = [
        {
            "name": name,
            "edge": client.edge,
            "url": part.clients.url,
            "token": part.server.token(client.tenant, client.name.replace(" ", "-"), client.plan, ttl=10**6),
            "symbols": SYMBOLS,
        }
        for name, (client, part) in people.items()
    ]
    process = await asyncio.create_subprocess_exec(
        *(node.executable, "chaos.mjs", json.dumps(told)),
        cwd=FOLDER,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    reading = asyncio.create_task(_read(process, eyes))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await reading


async def _read(process: asyncio.subprocess.Process, eyes: Witness) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        try:
            word = json.loads(line)
        except ValueError:
            eyes.fault(time.monotonic(), "no word of a client", line.decode(errors="replace").rstrip())
            continue
        eyes.take(time.monotonic(), *word)


class Publisher:
    """A back end of one tenant, which publishes at any gateway that will take it.

    Args:
        tenant: Whose.
        stage: Where.
        chance: Which gateway it asks.
    """

    def __init__(self, tenant: str, stage: Stage, chance: random.Random) -> None:
        self._tenant = tenant
        self._stage = stage
        self._chance = chance
        self._number = 0

    async def live(self) -> None:
        """Publishes until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWERED)) as http:
            while True:
                with suppress(*NETWORK):
                    await self._publish(http)
                await asyncio.sleep(PACE)

    async def last(self) -> dict[str, float]:
        """Publishes until all is taken; returns the value of each of its own symbols."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWERED)) as http:
            while True:
                with suppress(*NETWORK):
                    if await self._publish(http):
                        return dict.fromkeys(OWN, self._value())
                await asyncio.sleep(PACE)

    def _value(self) -> float:
        return MILLIONS[self._tenant] * 1_000_000 + self._number

    async def _publish(self, http: aiohttp.ClientSession) -> bool:
        """One price of each symbol and one quote; whether every one of its own was taken."""
        self._number += 1
        at_ms = int((time.time() + self._stage.skews[self._tenant]) * 1000)
        part = self._chance.choice(self._stage.gateways)
        own = [_best(symbol, self._value(), at_ms) for symbol in OWN]
        public = _best(PUBLIC, self._number, at_ms)
        quote = {"symbol": QUOTED, "source": self._tenant, "bid": self._number, "ask": self._number + 1}
        quote |= {"bidSize": 1, "askSize": 1, "timestamp": at_ms}
        taken = await self._post(http, part, {"prices": own, "tenantId": self._tenant})
        await self._post(http, part, {"prices": [public], "quotes": [quote]})
        return taken == len(OWN)

    async def _post(self, http: aiohttp.ClientSession, part: Part, body: dict[str, Any]) -> int:
        token = part.server.token(self._tenant, "back-end", UNLIMITED, ("market:publish",))
        async with http.post(
            f"{part.clients.url}/api/v1/market/publish",
            json=body,
            headers={"Authorization": f"Bearer {token}"},
        ) as answer:
            return int((await answer.json())["accepted"]) if answer.status == 200 else 0


def _best(symbol: str, value: float, at_ms: int) -> dict[str, Any]:
    side = {"price": value, "size": 1, "source": "back end"}
    same = {"bestBid": side, "bestAsk": side, "midPrice": value, "spread": 0, "spreadBps": 0}
    return {"symbol": symbol, "timestamp": at_ms} | same


async def read(stage: Stage, eyes: Witness, chance: random.Random) -> None:
    """Asks gateways questions until cancelled; each is answered in time with something of use."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(scaled(2 * ANSWERED))) as http:
        while True:
            part = chance.choice(stage.gateways)
            began = time.monotonic()
            status = 0
            with suppress(*NETWORK):
                status = await _ask(http, part, chance.choice(("quote/FED0", "overview", "providers")))
            now = time.monotonic()
            if stage.clear_since(part.name) < began - 1 and now - began > scaled(ANSWERED):
                eyes.fault(now, "a late answer", f"{now - began:.1f} s, {part.name}")
            if status not in (0, 200, 503):
                eyes.fault(now, "an answer of no use", f"{status}, {part.name}")
            await asyncio.sleep(PACE)


async def _ask(http: aiohttp.ClientSession, part: Part, path: str) -> int:
    headers = {"Authorization": f"Bearer {part.server.token(user='reader', plan=UNLIMITED)}"}
    async with http.get(f"{part.clients.url}/api/v1/market/{path}", headers=headers) as answer:
        await answer.read()
        return answer.status
