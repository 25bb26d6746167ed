"""Define every setting and its default.

`config/default.toml` says the same for operators. This only describes and checks; `loading` reads.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    IPvAnyNetwork,
    SecretStr,
    field_validator,
    model_validator,
)

from marketstream.core.market.symbols import normalise
from marketstream.plugins.provider import PROVIDER
from marketstream.security.jwt import MIN_SECRET_BYTES
from marketstream.settings.section import COMMAS, SPACES, Count, Seconds, Section
from marketstream.settings.vendor import Providers
from marketstream.wire.origin import ANY, normalise_pattern

MOST_SYMBOLS = 50


def _without_slash(path: str) -> str:
    return path.rstrip("/")


class Server(Section):
    """The process and its port.

    Attributes:
        host: Address to listen on; `::` and the empty one are every address of both families.
        port: Port to listen on; 0 lets the system choose.
        role: What this process does; `all` needs nothing beside it.
        drain_timeout: Seconds from a signal to the end.
        root_path: Path below which a proxy shows the server, such as `/md`; empty for the root.
        cors_origins: Browser origins that may connect; `https://*.example.com` for subdomains, `*` for all.
        cors_credentials: Whether pages may send cookies, which only proxies in front can want.
        cors_headers: Request headers that pages may send beyond the usual.
        trusted_proxies: Networks whose `X-Forwarded-*` and `Forwarded` are believed.
        loop: Event loop; `auto` takes the faster one where it is installed.
        max_body: Bytes of a request body.
        max_line: Bytes of a request's path, and of one header.
        max_headers: Number of a request's headers.
        max_head: Bytes of a request before its body.
        body_timeout: Seconds from its head until a request is complete.
        keepalive: Seconds a connection may be without a complete request.
        backlog: Connections that the kernel holds while the process is busy.
        reserve: File descriptors kept for the bus, vendors and files; clients wait for the others.
        peer_timeout: Seconds after which a peer that acknowledges nothing is gone; longer than
            `delivery.slow_timeout`.
        page: Whether the live page is served at `/`.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    role: Literal["all", "gateway", "feed", "jobs"] = "all"
    drain_timeout: Seconds = 10
    root_path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9_.~-]+)*/?$"), AfterValidator(_without_slash)] = ""
    cors_origins: Annotated[tuple[Annotated[str, AfterValidator(normalise_pattern)], ...], COMMAS] = (
        "http://localhost:3000",
    )
    cors_credentials: bool = False
    cors_headers: Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")], ...], COMMAS] = ()
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], COMMAS] = (
        ipaddress.ip_network("127.0.0.0/8"),
        ipaddress.ip_network("::1/128"),
    )
    loop: Literal["auto", "uvloop", "asyncio"] = "auto"
    max_body: Count = 1024 * 1024
    max_line: Annotated[int, Field(ge=1024, le=65_536)] = 8190
    max_headers: Annotated[int, Field(ge=16, le=1_000)] = 100
    max_head: Annotated[int, Field(ge=1024, le=1024 * 1024)] = 32 * 1024
    body_timeout: Seconds = 30
    keepalive: Seconds = 75
    backlog: Count = 4_096
    reserve: Annotated[int, Field(ge=1)] = 64
    peer_timeout: Annotated[float, Field(ge=1, le=300)] = 45
    page: bool = True

    @model_validator(mode="after")
    def _named_for_credentials(self) -> Self:
        if self.cors_credentials and ANY in self.cors_origins:
            raise ValueError("cors_credentials needs cors_origins with names: with * any page would count")
        return self


class Auth(Section):
    """Who may come in.

    Attributes:
        secret: Shared secret of HS256, at least 32 bytes.
        jwks: Path or URL of the keys of RS256, ES256 and EdDSA.
        algorithms: The only algorithms that count; empty means all that the given keys can do.
        audience: What `aud` must be or hold; None: not looked at.
        issuer: What `iss` must be; None: not looked at.
        default_plan: Plan of a token that names none.
        allow_query_token: Whether `?token=` is read.
        leeway: Seconds that this clock and the issuer's may differ.
        plans_file: The plans; None: the shipped ones.
    """

    secret: SecretStr | None = None
    jwks: Annotated[str | None, Field(min_length=1)] = None
    algorithms: Annotated[tuple[Literal["HS256", "RS256", "ES256", "EdDSA"], ...], COMMAS] = ()
    audience: Annotated[str | None, Field(min_length=1)] = None
    issuer: Annotated[str | None, Field(min_length=1)] = None
    default_plan: str = "basic"
    allow_query_token: bool = True
    leeway: Annotated[float, Field(ge=0, le=300)] = 0
    plans_file: Path | None = None

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value().encode()) < MIN_SECRET_BYTES:
            raise ValueError(f"it must be at least {MIN_SECRET_BYTES} bytes long")
        return secret


class Feeds(Section):
    """Where quotes come from.

    Attributes:
        specs: Feeds as `serve --feed` takes them; they run together.
        stale_after: Seconds of silence after which a source leaves the best price.
        max_ahead: Seconds by which the time of a quote or price may be ahead of the server's clock.
    """

    specs: Annotated[tuple[str, ...], SPACES] = ()
    stale_after: Seconds = 30
    max_ahead: Annotated[float, Field(gt=0, le=300)] = 5


class Bus(Section):
    """How processes hear of each other.

    Attributes:
        url: `memory://` for one process alone; `redis://`, `rediss://`, `redis+sentinel://` or
            `redis+cluster://` for many; other schemes by packages that bring them.
    """

    url: Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*://")] = "memory://"


class Cache(Section):
    """Where answers of providers are kept.

    Attributes:
        url: A Redis as of `bus.url`, `memory://`, or what a package brings; None: where the bus is, if there
            is a cache of its scheme, else memory.
        max_entries: Answers that the cache of a process holds; a Redis has its own bound.
        max_bytes: Bytes that they take at most.
    """

    url: Annotated[str | None, Field(pattern=r"^[a-z][a-z0-9+.-]*://")] = None
    max_entries: Count = 10_000
    max_bytes: Count = 64 * 1024 * 1024


def _named(text: str) -> str:
    """Check a symbol and, behind a space, the name that people know it by."""
    symbol, _, name = text.partition(" ")
    if normalise(symbol) != symbol or not name.strip():
        raise ValueError("it must be a symbol, a space and a name, such as ^GSPC S&P 500")
    return text


def _symbol(text: str) -> str:
    if normalise(text) != text:
        raise ValueError("it must be a symbol in upper case")
    return text


def _provider(name: str) -> str:
    """Check that a name is one of a provider, without importing it."""
    if name not in (names := PROVIDER.names()):
        raise ValueError(f"there is no provider {name}; there are {', '.join(names)}")
    return name


class Market(Section):
    """What is shown of the market as a whole, and who is asked.

    Attributes:
        providers: Who is asked, in this order; none: all there are, or the synthetic market in dev mode.
        popular: Symbols that movers and mood are made of.
        indices: A symbol and its name each.
        sectors: A symbol that stands for a sector, and the sector's name, each.
    """

    providers: Annotated[tuple[Annotated[str, AfterValidator(_provider)], ...], COMMAS] = ()
    popular: Annotated[tuple[Annotated[str, AfterValidator(_symbol)], ...], COMMAS] = (
        *("AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META", "TSLA"),
        *("JPM", "XOM", "JNJ", "PG", "WMT"),
    )
    indices: Annotated[tuple[Annotated[str, AfterValidator(_named)], ...], COMMAS] = (
        "^GSPC S&P 500",
        "^IXIC Nasdaq Composite",
        "^DJI Dow Jones",
        "^RUT Russell 2000",
        "^VIX CBOE Volatility",
    )
    sectors: Annotated[tuple[Annotated[str, AfterValidator(_named)], ...], COMMAS] = (
        "XLK Technology",
        "XLF Financials",
        "XLV Health Care",
        "XLY Consumer Discretionary",
        "XLP Consumer Staples",
        "XLE Energy",
        "XLI Industrials",
        "XLC Communication Services",
        "XLU Utilities",
        "XLB Materials",
        "XLRE Real Estate",
    )

    @field_validator("popular", "indices", "sectors")
    @classmethod
    def _bounded(cls, listed: tuple[str, ...]) -> tuple[str, ...]:
        if not 0 < len(listed) <= MOST_SYMBOLS:
            raise ValueError(f"it must list 1 to {MOST_SYMBOLS} symbols: each is a question to a provider")
        return listed


class Ingest(Section):
    """The Redis stream that back ends add best prices to.

    Attributes:
        enabled: Whether it is read; only where the bus is a Redis.
        stream: Its name; unusable entries go to `<stream>.dead`.
        group: Name of the consumer group that reads it.
    """

    enabled: bool = True
    stream: Annotated[str, Field(min_length=1)] = "market-data.best-price"
    group: Annotated[str, Field(min_length=1)] = "marketstream"


class Events(Section):
    """Event streams.

    Attributes:
        window_ms: Milliseconds in which events for one connection are collected; 0 sends each at once.
        routes_file: Rules of routing; the shipped `config/routes.toml` unless set.
        channels: Patterns of Redis pub/sub channels from which events come in; only where the bus is a Redis.
        stream: Redis stream from which they come in; unusable entries go to `<stream>.dead`.
        group: Name of the consumer group that reads it.
        workers_per_tenant: Memberships of worker groups that one tenant may have in a process, of 500.
    """

    window_ms: Annotated[float, Field(ge=0, le=10_000)] = 100.0
    routes_file: Path | None = None
    channels: tuple[Annotated[str, Field(min_length=1)], ...] = ("marketstream.events.*",)
    stream: Annotated[str, Field(min_length=1)] = "marketstream.events"
    group: Annotated[str, Field(min_length=1)] = "marketstream"
    workers_per_tenant: Annotated[int, Field(gt=0, le=500)] = 100


class Jobs(Section):
    """What is done periodically.

    Attributes:
        enabled: Whether processes of the roles all and jobs do it.
    """

    enabled: bool = True


class Delivery(Section):
    """What a client gets, how fast, and when it is given up.

    Attributes:
        heartbeat_interval: Seconds between heartbeats.
        idle_timeout: Seconds without anything from a client until it is closed.
        slow_timeout: Seconds without anything taken by a client until it is closed.
        flush_max_delay_ms: Longest a price waits for others to share its write, milliseconds.
        every_queue: Updates kept per symbol and client in mode `every`.
        control_queue: Answers and notices kept per client.
        token_warning: Seconds before its token's end that a client is told.
        connect_timeout: Seconds a client may take to present itself.
        max_unadmitted: Connections that may wait for that; then the longest waiting goes for a new one.
        max_messages_per_second: More than that from one client closes it.
        waiting_bytes: Bytes of calls of one client that may wait for something, such as Redis.
        max_waiting_bytes: Bytes of everything that waits: calls, tokens whose key is fetched, bodies.
        notsent_lowat: Bytes the kernel may hold unsent for a client.
        delayed_bytes: Bytes that prices held back for delayed plans may take.
    """

    heartbeat_interval: Seconds = 30
    idle_timeout: Seconds = 120
    slow_timeout: Seconds = 30
    flush_max_delay_ms: Annotated[float, Field(ge=0, le=1000)] = 20
    every_queue: Count = 1000
    control_queue: Count = 1000
    token_warning: Seconds = 60
    connect_timeout: Seconds = 45
    max_unadmitted: Count = 2000
    max_messages_per_second: Count = 1000
    waiting_bytes: Count = 1024 * 1024
    max_waiting_bytes: Count = 64 * 1024 * 1024
    notsent_lowat: Count = 16384
    delayed_bytes: Count = 128 * 1024 * 1024


class SocketIO(Section):
    """The Socket.IO edge.

    Attributes:
        path: URL path, with a slash at both ends.
        ping_interval: Seconds between Engine.IO pings.
        ping_timeout: Seconds a pong may take.
        max_payload: Bytes of one message from a client.
    """

    path: Annotated[str, Field(pattern=r"^/(.+/)?$")] = "/socket.io/"
    ping_interval: Seconds = 25
    ping_timeout: Seconds = 20
    max_payload: Count = 256 * 1024


class WebSocket(Section):
    """The plain WebSocket edge.

    Attributes:
        ping_interval: Seconds between pings, which every client answers.
        max_payload: Bytes of one message from a client.
    """

    ping_interval: Seconds = 25
    max_payload: Count = 256 * 1024


class Sse(Section):
    """The Server-Sent Events edge.

    Attributes:
        retry_ms: Milliseconds a browser waits before it reconnects.
        comment_interval: Seconds between comments on a quiet stream.
    """

    retry_ms: Count = 3000
    comment_interval: Seconds = 15


class Symbols(Section):
    """Which symbols exist.

    Attributes:
        mode: `open`: whatever is well formed; `listed`: what the file lists.
        file: The list; None: the shipped one.
    """

    mode: Literal["open", "listed"] = "open"
    file: Path | None = None


class Log(Section):
    """What is written on stderr.

    Attributes:
        level: Weakest level that is written.
        format: `auto` is console on a terminal, otherwise json.
    """

    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Settings(Section):
    """Everything there is to set; `config/default.toml` says the same with every default.

    Attributes:
        dev: Trying things out: generated secret, synthetic feed, `/dev/token`, loopback only.
    """

    dev: bool = False
    server: Server = Server()
    auth: Auth = Auth()
    feeds: Feeds = Feeds()
    bus: Bus = Bus()
    cache: Cache = Cache()
    market: Market = Market()
    ingest: Ingest = Ingest()
    jobs: Jobs = Jobs()
    events: Events = Events()
    delivery: Delivery = Delivery()
    socketio: SocketIO = SocketIO()
    websocket: WebSocket = WebSocket()
    sse: Sse = Sse()
    symbols: Symbols = Symbols()
    log: Log = Log()
    providers: Providers = Providers()
