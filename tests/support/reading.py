"""The reading endpoints over scripted providers, answering over a real connection in the time of a test."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from marketstream.bus.memory import MemoryClaims
from marketstream.core.jobs.schedule import every
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.engine.jobs.scheduler import Job, Jobs
from marketstream.engine.query.overview import Overview
from marketstream.transports.answer import Answers
from marketstream.transports.credentials import Credentials
from marketstream.transports.origin import OriginPolicy
from marketstream.transports.rest import reference
from marketstream.transports.rest.admin import CacheAdmin, StreamAdmin
from marketstream.transports.rest.endpoint import Endpoint
from marketstream.transports.rest.guard import Guard
from marketstream.transports.rest.jobs import JobsAdmin
from marketstream.transports.rest.rate_limiter import UserRateLimiter
from marketstream.transports.rest.read import Reading
from marketstream.transports.rest.stream import StateStreams
from tests.support.builders import Bench, KnownTokens, principal
from tests.support.providers import Reader

MARKET = "/api/v1/market"
MAX_BODY = 200_000
PAGE = "http://localhost:3000"
Web = TestClient[web.Request, web.Application]


class Api:
    """A client of the endpoints.

    Attributes:
        reader: The read side and its providers.
        bench: The engine, for delayed prices.
        jobs: One job, `indices`, which is never due; it runs when it is asked for while `Jobs.run` runs.
        streams: Streams of states.
        tokens: What tokens stand for; `good` reads, `admin` may do all, `publisher` only publishes.
    """

    def __init__(
        self,
        reader: Reader,
        bench: Bench,
        jobs: Jobs,
        tokens: KnownTokens,
        http: Web,
        streams: StateStreams,
    ) -> None:
        self.streams = streams
        self.reader = reader
        self.jobs = jobs
        self.bench = bench
        self.tokens = tokens
        self.http = http

    async def get(self, path: str, who: str = "good", **headers: str) -> tuple[int, Any]:
        """Status and JSON of a GET below the market's path."""
        response = await self.raw(path, who, **headers)
        return response.status, await response.json()

    async def raw(self, path: str, who: str | None = "good", **headers: str) -> Any:
        """The response to a GET below the market's path."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if who is not None:
            given["Authorization"] = f"Bearer {who}"
        return await self.http.get(f"{MARKET}/{path}", headers=given)

    async def search(self, body: Any, who: str = "good") -> tuple[int, Any]:
        """Status and JSON of a search."""
        headers = {"Authorization": f"Bearer {who}"}
        response = await self.http.post(f"{MARKET}/search", headers=headers, **body)
        return response.status, await response.json()


@asynccontextmanager
async def answered(app: web.Application, origins: OriginPolicy) -> AsyncIterator[Web]:
    """A client of an application whose errors are answered as a server answers them."""
    server = TestServer(app)
    async with TestClient(server) as http:
        assert isinstance(server.runner, web.AppRunner)
        Answers(origins).attach(server.runner)
        yield http


@asynccontextmanager
async def reading(
    *providers: str, registry: SymbolRegistry | None = None, stream_rules: Mapping[str, Any] | None = None
) -> AsyncIterator[Api]:
    """The endpoints over providers of those names; `stream_rules` are for streams of states."""
    reader = Reader(*providers)
    bench = Bench()
    bench.node.clock = bench.clock = bench.bus.clock = reader.clock
    tokens = KnownTokens()
    tokens.known["good"] = principal()
    tokens.known["admin"] = principal("root", scopes=("market:read", "admin"))
    tokens.known["publisher"] = principal("feeder", scopes=("market:publish",))
    overview = Overview(
        queries=reader.service,
        clock=reader.clock,
        popular=("AAPL", "MSFT", "XOM"),
        indices=[("^GSPC", "S&P 500")],
        sectors=[("XLK", "Technology"), ("XLE", "Energy")],
    )
    guard = Guard(verifier=tokens, credentials=Credentials(), waiting=bench.node.waiting)
    endpoint = Endpoint(
        guard=guard, limiter=UserRateLimiter(clock=reader.clock), registry=registry or SymbolRegistry("open")
    )
    read = Reading(
        endpoint=endpoint,
        quotes=bench.execution.quotes,
        clock=bench.clock,
        queries=reader.service,
        overview=overview,
        time=reader.clock,
    )
    admin = CacheAdmin(endpoint=endpoint, cache=reader.cache, stats=reader.stats)

    async def work() -> None:
        await overview.indices(renew=True)

    async def never(_seconds: float) -> None:
        await asyncio.Event().wait()

    jobs = Jobs(
        jobs=[Job("indices", every(120), work)],
        claims=MemoryClaims(),
        clock=reader.clock,
        stats=bench.stats,
        chance=lambda: 0.0,
        sleep=never,
    )
    origins = OriginPolicy([PAGE])
    streams = StateStreams(endpoint=endpoint, node=bench.node, origins=origins, **(stream_rules or {}))
    periodic = JobsAdmin(endpoint=endpoint, jobs=jobs, clock=reader.clock, streams=streams)
    connected = StreamAdmin(endpoint=endpoint, node=bench.node, streams=streams)
    app = web.Application(client_max_size=MAX_BODY)
    reference.attach(
        app, [*read.operations(), *admin.operations(), *periodic.operations(), *connected.operations()]
    )
    async with answered(app, origins) as http:
        yield Api(reader, bench, jobs, tokens, http, streams)
    bench.node.flusher.stop()
