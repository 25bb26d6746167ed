"""Read the arguments of each command, call what does the work, and turn errors into exit codes.

Exit code 0 is good, 1 means that something given to `publish` was bad or did not arrive, or that there is
nothing more to watch, 2 that the command or the configuration cannot be used. Errors are one line on
stderr, never a traceback.
"""

import asyncio
import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import SecretStr
from typer.core import TyperCommand

from marketstream import __version__, signals
from marketstream.errors import ConfigurationError, MarketstreamError
from marketstream.observability import log_writer
from marketstream.observability.logging import configure
from marketstream.observability.text import MASK, mask, mask_setting, printable
from marketstream.plugins.registry import listing
from marketstream.publish import publish as publish_lines
from marketstream.publish.channel import Channel
from marketstream.security.jwt import sign_token
from marketstream.settings import Settings, leaves, load_plans, load_registry, load_settings
from marketstream.settings.loading import DEV_MODE

_BAD_INPUT = 1
_BAD_USAGE = 2
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})

DEFAULT_URL = "http://127.0.0.1:8080"

app = typer.Typer(
    help="Real-time market data: quotes of many sources in, one best price per symbol out.",
    epilog="Settings: config/default.toml, then --config, then MARKETSTREAM_SECTION__KEY, then flags.",
    add_completion=False,
    # A traceback of typer's shows local variables, and among them would be secrets.
    pretty_exceptions_enable=False,
)


class ServeCommand(TyperCommand):
    """Shows what is installed at the end of its help; nothing is looked for before."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  # of click, or of typer's copy of it
        """See `click.Command.format_help`."""
        self.epilog = f"Installed, and named by URL or name: {'; '.join(listing())}."
        super().format_help(ctx, formatter)


Config = Annotated[
    Path | None,
    typer.Option(
        help="TOML file of settings, over the shipped ones.", envvar="MARKETSTREAM_CONFIG", metavar="FILE"
    ),
]


def main() -> None:
    """Entry point of the console script."""
    log_writer.install()
    try:
        app()
    except OSError as error:
        # A reader of stdout that has gone, such as `head`, has been answered by typer, without a word.
        if error.errno not in _UNWRITABLE:
            raise
        # What is still in the buffer of stdout would be tried, and fail, once more at the end of the process.
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open until the end
        typer.echo(f"marketstream: cannot write: {error.strerror}", err=True)
        sys.exit(_BAD_INPUT)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Show the version or, without a command, the help."""
    if version:
        typer.echo(f"marketstream {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(cls=ServeCommand)
def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default="8080")] = None,
    role: Annotated[
        str | None,
        typer.Option(
            help="gateway serves clients, feed brings quotes in, jobs does what is periodic; all: all of it.",
            metavar="ROLE",
            show_default="all",
        ),
    ] = None,
    feed: Annotated[
        list[str] | None,
        typer.Option(
            help="A source of quotes, such as synthetic?symbols=EUR/USD,AAPL&rate=10; repeatable.",
            metavar="SPEC",
        ),
    ] = None,
    bus: Annotated[
        str | None,
        typer.Option(help="URL of the bus between processes.", metavar="URL", show_default="memory://"),
    ] = None,
    config: Config = None,
    dev: Annotated[
        bool,
        typer.Option(
            "--dev", help="Try it out: synthetic feed, generated secret, GET /dev/token; loopback only."
        ),
    ] = False,
) -> None:
    """Run a server."""
    given = {
        "server.host": host,
        "server.port": port,
        "server.role": role,
        "feeds.specs": feed,
        "bus.url": bus,
        "dev": dev or None,
    }

    def read() -> Settings:
        return load_settings(given, config, os.environ).settings

    with _plain_errors():
        settings = read()
        _check_servable(settings)
        signals.bridge_start()
        log_writer.install_stdout()
        configure(settings.log.level, settings.log.format)
        from marketstream.app import run  # noqa: PLC0415 - the other commands start without the server

        code = run(settings, read)
        signals.bridge_end()
        raise typer.Exit(code)


@app.command()
def token(
    *,
    tenant: Annotated[str, typer.Option(help="Tenant the user belongs to (claim tenantId).")],
    user: Annotated[str, typer.Option(help="User the token is for (claim sub).")],
    plan: Annotated[
        str | None, typer.Option(help="Plan by name.", show_default="the server's default")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="Scope: market:read, market:publish, events:work, admin; repeatable.",
            show_default="market:read",
        ),
    ] = None,
    symbols: Annotated[
        list[str] | None,
        typer.Option(help="Glob that narrows what the plan allows; repeatable.", metavar="GLOB"),
    ] = None,
    ttl: Annotated[int, typer.Option(help="Seconds until it ends.", min=1)] = 3600,
    config: Config = None,
) -> None:
    """Print one token, signed with the server's secret (MARKETSTREAM_JWT_SECRET)."""
    with _plain_errors():
        loaded = load_settings({}, config, os.environ)
        auth = loaded.settings.auth
        if auth.secret is None or loaded.origins["auth.secret"] == DEV_MODE:
            raise ConfigurationError("auth.secret", "there is none to sign with; set MARKETSTREAM_JWT_SECRET")
        if plan is not None and plan not in (plans := load_plans(auth.plans_file)):
            raise ConfigurationError(
                "--plan", f"there is no plan {plan}; there are {', '.join(sorted(plans))}"
            )
        for flag, name in (("--tenant", tenant), ("--user", user)):
            if not name.strip() or not name.isprintable():
                raise ConfigurationError(flag, "it must be a name")
        claims = {"aud": auth.audience, "iss": auth.issuer}
        signed = sign_token(
            secret=auth.secret.get_secret_value(),
            tenant=tenant,
            user=user,
            plan=plan,
            scopes=scope or (),
            symbols=symbols or (),
            ttl=ttl,
            at_ms=time.time_ns() // 1_000_000,
            **{claim: value for claim, value in claims.items() if value is not None},
        )
        typer.echo(signed)


@app.command()
def watch(
    symbols: Annotated[list[str], typer.Argument(help="What to watch.", metavar="SYMBOL...")],
    *,
    url: Annotated[str, typer.Option(help="Address of the server.")] = DEFAULT_URL,
    token: Annotated[
        str | None,
        typer.Option(
            help="Token; a server in development mode is asked for one.",
            envvar="MARKETSTREAM_TOKEN",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Watch prices in the terminal, over the Python SDK (extra `watch`); Ctrl-C ends it."""
    with _plain_errors():
        try:
            from marketstream.watch import watch as show  # noqa: PLC0415 - the SDK may not be installed
        except ModuleNotFoundError as error:
            if error.name != "marketstream_sdk":
                raise
            text = "watching takes the Python SDK; install marketstream-sdk (in the repository: sdk/python)"
            raise ConfigurationError("", text) from error
        show(symbols, url, token)


@app.command()
def publish(
    *,
    url: Annotated[
        str | None, typer.Option(help="Address of the server.", show_default="http://127.0.0.1:8080")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="Token with the scope market:publish.", envvar="MARKETSTREAM_TOKEN", show_default=False
        ),
    ] = None,
    bus: Annotated[
        str | None,
        typer.Option(
            help="Redis that the servers share, instead of --url; takes no token.",
            metavar="URL",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Publish quotes or best prices, read as JSON lines from stdin.

    Bad lines are reported on stderr by number and skipped; the exit code is then 1.
    """
    with _plain_errors():
        channel = _channel(url, token, bus)
        tally = asyncio.run(publish_lines(channel, 0, lambda text: typer.echo(printable(text), err=True)))
    if tally.bad:
        raise typer.Exit(_BAD_INPUT)


@app.command()
def redis(
    *, port: Annotated[int, typer.Option(help="Port to listen on, on 127.0.0.1.", min=1, max=65535)] = 6379
) -> None:
    """Run an embedded Valkey on this machine, for trying many processes out (extra `embedded`)."""
    with _plain_errors():
        from marketstream.embedded import run_valkey  # noqa: PLC0415 - the package may not be installed

        log_writer.install_stdout()
        run_valkey(port, typer.echo)


@app.command()
def check_config(*, config: Config = None) -> None:
    """Print the settings that count, secrets masked, where each comes from, and the plug-ins there are."""
    with _plain_errors():
        loaded = load_settings({}, config, os.environ)
        plans = load_plans(loaded.settings.auth.plans_file)
        if loaded.settings.auth.default_plan not in plans:
            raise ConfigurationError(
                "auth.default_plan", f"there is no plan {loaded.settings.auth.default_plan}"
            )
        load_registry(loaded.settings)
        rows = [
            (f"{path} = {_shown(value)}", loaded.origins[path]) for path, value in leaves(loaded.settings)
        ]
        width = max(len(left) for left, _ in rows)
        for left, origin in rows:
            typer.echo(f"{left:<{width}}  # {origin}")
        for line in listing():
            typer.echo(f"# {line}")


def _channel(url: str | None, token: str | None, bus: str | None) -> Channel:
    if bus is not None:
        if url is not None:
            raise ConfigurationError("--bus", "it is given instead of --url, not beside it")
        from marketstream.publish.relayed import RelayedChannel  # noqa: PLC0415 - it needs Redis' client

        return RelayedChannel(bus)
    if not token:
        raise ConfigurationError("--token", "publishing takes a token; give one, or set MARKETSTREAM_TOKEN")
    from marketstream.publish.direct import DirectChannel  # noqa: PLC0415 - it needs an HTTP client

    return DirectChannel(url or DEFAULT_URL, token)


def _shown(value: object) -> str:
    if value is None:
        return "(not set)"
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, tuple):
        return f"[{', '.join(_shown(item) for item in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    # A path may have an @; what is a text may be an address.
    return f'"{printable(mask_setting(value) if isinstance(value, str) else mask(str(value)))}"'


def _check_servable(settings: Settings) -> None:
    """Refuse what the settings can say and no server can do."""
    if settings.server.role != "all" and settings.bus.url.startswith("memory:"):
        text = f"role {settings.server.role} is one part of several; they meet on a bus such as redis://"
        raise ConfigurationError("bus.url", text)


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        _end(error, _BAD_USAGE)
    except MarketstreamError as error:
        _end(error, _BAD_INPUT)


def _end(error: MarketstreamError, code: int) -> NoReturn:
    typer.echo(f"marketstream: {printable(mask(str(error)))}", err=True)
    raise typer.Exit(code) from error
