import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
import structlog
from typer.testing import CliRunner, Result

import marketstream
from marketstream.cli import app
from marketstream.core.delivery.entitlements import Principal
from marketstream.observability.clock import SystemClock
from marketstream.security.jwt import TokenVerifier
from marketstream.settings import load_plans
from tests.support.program import clean_environment

SECRET = "a secret of this test, long enough for HS256"
ENVIRON = {"MARKETSTREAM_JWT_SECRET": SECRET}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the shell reaches a command, no line is folded, the log is as it was afterwards."""
    for name in os.environ.keys() - clean_environment().keys():
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def called(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(app, arguments, env=ENVIRON | environ)


def assert_refused(result: Result, *words: str) -> None:
    """One plain line on stderr, exit 2."""
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    for word in words:
        assert word in result.stderr


def token(*arguments: str, **environ: str) -> Result:
    return called("token", "--tenant", "acme", "--user", "ada", *arguments, **environ)


def verified(text: str, audience: str | None = None, issuer: str | None = None) -> Principal:
    checks = TokenVerifier(
        secret=SECRET,
        plans=load_plans(),
        default_plan="basic",
        clock=SystemClock(),
        audience=audience,
        issuer=issuer,
    )
    principal = checks.verify(text)
    assert isinstance(principal, Principal)
    return principal


def test_a_token_is_all_that_token_prints_and_the_server_accepts_it() -> None:
    result = token(
        "--plan", "pro", "--scope", "market:read", "--scope", "admin", "--symbols", "EUR/*", "--ttl", "60"
    )
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1
    principal = verified(result.stdout.strip())
    assert (principal.tenant, principal.user, principal.plan.name) == ("acme", "ada", "pro")
    assert principal.scopes == {"market:read", "admin"}
    assert [principal.allows_symbol(symbol) for symbol in ("EUR/USD", "AAPL")] == [True, False]
    assert 0 < principal.expires_at_ms - SystemClock().wall_ms() <= 60_000


def test_a_token_that_asks_for_nothing_is_what_the_server_gives_by_default() -> None:
    principal = verified(token().stdout.strip())
    assert principal.plan.name == "basic"
    assert principal.scopes == {"market:read"}
    assert principal.symbols is None


def test_a_token_carries_the_audience_and_issuer_that_the_server_looks_at() -> None:
    printed = token(MARKETSTREAM_AUTH__AUDIENCE="ms", MARKETSTREAM_AUTH__ISSUER="us").stdout.strip()
    assert verified(printed, audience="ms", issuer="us").user == "ada"


def test_a_token_is_signed_with_the_secret_of_a_file(tmp_path: Path) -> None:
    config = tmp_path / "here.toml"
    config.write_text(f'auth.secret = "{SECRET}"')
    result = token("--config", str(config), MARKETSTREAM_JWT_SECRET="")
    assert verified(result.stdout.strip()).user == "ada"


def test_without_a_secret_there_is_no_token(tmp_path: Path) -> None:
    """Not with the keys of others, and not with a secret made up for dev mode that no server knows."""
    assert_refused(token(MARKETSTREAM_JWT_SECRET=""), "auth.secret", "MARKETSTREAM_JWT_SECRET")
    for setting in ('auth.jwks = "keys.json"', "dev = true"):
        config = tmp_path / "here.toml"
        config.write_text(setting)
        assert_refused(token("--config", str(config), MARKETSTREAM_JWT_SECRET=""), "MARKETSTREAM_JWT_SECRET")


def test_a_plan_that_is_not_sold_is_refused_with_those_that_are() -> None:
    assert_refused(token("--plan", "platinum"), "--plan", "basic, pro")


@pytest.mark.parametrize("arguments", [("--tenant", ""), ("--user", " "), ("--user", "a\tb")])
def test_a_name_that_the_server_would_refuse_is_refused_here(arguments: tuple[str, ...]) -> None:
    assert_refused(token(*arguments), arguments[0])


@pytest.mark.parametrize("arguments", [("--ttl", "0"), ("--ttl", "long"), ("--nonsense",)])
def test_arguments_that_cannot_be_are_a_usage_error(arguments: tuple[str, ...]) -> None:
    result = token(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_a_token_needs_a_tenant_and_a_user() -> None:
    assert called("token", "--user", "ada").exit_code == 2
    assert called("token", "--tenant", "acme").exit_code == 2


def test_without_a_command_the_help_is_shown() -> None:
    result = called()
    assert result.exit_code == 0
    for command in ("serve", "token", "publish", "check-config"):
        assert command in result.stdout


def test_the_version_is_that_of_the_package() -> None:
    assert called("--version").stdout == f"marketstream {marketstream.__version__}\n"


@pytest.mark.parametrize("command", ["serve", "token", "publish", "check-config"])
def test_every_command_explains_itself(command: str) -> None:
    result = called(command, "--help")
    assert result.exit_code == 0
    assert result.stdout.count("--") > 1


def test_the_help_of_the_server_names_what_is_installed() -> None:
    words = " ".join(called("serve", "--help").stdout.split())
    for line in ("feed: alpaca, none, replay, synthetic, yahoo", "cache: memory, redis"):
        assert line in words


def test_check_config_prints_every_setting_with_its_origin_and_no_secret(tmp_path: Path) -> None:
    config = tmp_path / "here.toml"
    config.write_text("[server]\nport = 9000\n[bus]\nurl = 'redis://me:hidden@host'\n")
    result = called(
        "check-config", "--config", str(config), TIINGO_API_KEY="hidden", MARKETSTREAM_LOG__LEVEL="debug"
    )
    assert result.exit_code == 0
    lines = {line.split(" = ")[0]: " ".join(line.split()) for line in result.stdout.splitlines()}
    assert lines["server.port"] == f"server.port = 9000 # {config}"
    assert lines["server.role"] == 'server.role = "all" # config/default.toml'
    assert lines["log.level"] == 'log.level = "debug" # environment MARKETSTREAM_LOG__LEVEL'
    assert lines["auth.secret"] == "auth.secret = *** # environment MARKETSTREAM_JWT_SECRET"
    assert lines["auth.audience"] == "auth.audience = (not set) # default"
    assert lines["auth.allow_query_token"] == "auth.allow_query_token = true # config/default.toml"
    assert lines["providers.tiingo_api_key"] == "providers.tiingo_api_key = *** # environment TIINGO_API_KEY"
    assert "# bus: memory, redis, redis+cluster, redis+sentinel, rediss" in result.stdout.splitlines()
    assert "# feed: alpaca, none, replay, synthetic, yahoo" in result.stdout.splitlines()
    assert lines["bus.url"] == f'bus.url = "redis://me:***@host" # {config}'
    assert "hidden" not in result.stdout
    assert SECRET not in result.stdout


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[server]\nprot = 1", "server.prot"),
        ("[auth]\ndefault_plan = 'gold'", "auth.default_plan"),
        ("[auth]\nplans_file = '/nowhere.toml'", "auth.plans_file"),
        ("[symbols]\nmode = 'listed'\nfile = '/nowhere.toml'", "symbols.file"),
    ],
)
def test_check_config_stops_at_a_bad_setting_with_its_path(tmp_path: Path, text: str, path: str) -> None:
    config = tmp_path / "here.toml"
    config.write_text(text)
    assert_refused(called("check-config", "--config", str(config)), f"marketstream: {path}: ")


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (("--port", "70000"), "server.port"),
        (("--role", "king"), "server.role"),
        (("--role", "gateway"), "bus.url"),
        (("--bus", "redis+cluster://me:hidden@host/3"), "bus.url"),
        (("--bus", "redis+sentinel://me:hidden@host"), "bus.url"),
        (("--bus", "redis://me:hidden@host:port"), "bus.url"),
        (("--bus", "carrier+pigeon://me:hidden@host"), "bus.url"),
        (("--dev", "--host", "0.0.0.0"), "server.host"),  # noqa: S104  # what is refused
        (("--config", "/nowhere.toml"), "/nowhere.toml"),
    ],
)
def test_a_server_that_cannot_be_is_refused_in_one_line(arguments: tuple[str, ...], path: str) -> None:
    result = called("serve", *arguments)
    assert_refused(result, path)
    assert "hidden" not in result.stderr


def test_a_server_without_a_secret_says_how_to_set_one() -> None:
    assert_refused(
        called("serve", MARKETSTREAM_JWT_SECRET=""), "auth.secret", "MARKETSTREAM_JWT_SECRET", "--dev"
    )


def test_publishing_takes_a_token_and_an_address() -> None:
    assert_refused(called("publish"), "MARKETSTREAM_TOKEN")
    assert_refused(called("publish", "--token", "x", "--url", "localhost"), "--url")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--bus", "redis://127.0.0.1:1/0", "--url", "http://127.0.0.1:8080"), "--bus"),
        (("--bus", "memory://"), "within one process"),
        (("--bus", "nats://127.0.0.1:1"), "there is no bus nats://"),
        (("--bus", "redis+sentinel://127.0.0.1:1"), "SERVICE"),
    ],
    ids=str,
)
def test_publishing_through_a_bus_takes_a_redis_and_no_address(
    arguments: tuple[str, ...], words: str
) -> None:
    assert_refused(called("publish", *arguments), words)


def test_the_commands_that_need_no_server_do_not_load_one() -> None:
    """`token` is run by scripts, in loops."""
    code = (
        "import sys, marketstream.cli; "
        "print([name for name in ('aiohttp', 'socketio', 'marketstream.app') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean_environment()
    )
    assert done.stdout.strip() == "[]"


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "marketstream",
            "token",
            "--tenant",
            "bench",
            "--user",
            "bench",
            "--plan",
            "pro",
        ],
        capture_output=True,
        text=True,
        check=True,
        env=clean_environment(ENVIRON),
    )
    assert jwt.get_unverified_header(done.stdout.strip()) == {"alg": "HS256", "typ": "JWT"}
    assert verified(done.stdout.strip()).plan.name == "pro"
    assert json.dumps(done.stderr) == '""'


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:s3cr3t@host/0",
        "redis://:one/s3cr3t@host/0",
        "redis://host/0?p%61ssword=s3cr3t",
        "redis+sentinel://h1:1,user:s3cr3t@h2:2/SERVICE",
        "redis+cluster://user:s3cr3t@h1:1,h2:2",
        "redis://user:s3cr3t%40host:6379/0",
        "redis://user:s3cr3t",
    ],
)
def test_no_address_shows_its_password(url: str) -> None:
    """Whichever setting it is the value of, and also when the server refuses it."""
    settings = {
        "REDIS_URL": url,
        "MARKETSTREAM_CACHE__URL": url,
        "MARKETSTREAM_AUTH__JWKS": url,
        "MARKETSTREAM_AUTH__ISSUER": url,
        "MARKETSTREAM_FEEDS__SPECS": f"alpaca?url={url}",
        "MARKETSTREAM_PROVIDERS__FMP__BASE_URL": f"https://{url.partition('://')[2]}",
    }
    shown = called("check-config", **settings)
    assert shown.exit_code == 0
    assert "bus.url" in shown.stdout
    refused = called(
        "serve", "--port", "0", "--bus", f"nowhere+{url}", "--feed", f"alpaca?url={url}", **settings
    )
    published = called("publish", "--bus", f"nowhere+{url}", **settings)
    watched = called("watch", "A", "--url", url, **settings)
    for result in (shown, refused, published, watched):
        assert "s3cr3t" not in result.output
    assert (refused.exit_code, published.exit_code, watched.exit_code) == (2, 2, 2)
