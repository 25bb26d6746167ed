import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from marketstream.core.market.symbols import SymbolRegistry
from marketstream.errors import ConfigurationError
from marketstream.settings import FLAGS, Loaded, Settings, leaves, load_registry, load_settings, shipped
from marketstream.settings import toml as settings_toml

SECRET = "a secret of this test, long enough for HS256"
WITH_SECRET = {"MARKETSTREAM_JWT_SECRET": SECRET}


def load(
    flags: Mapping[str, object] | None = None,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    return load_settings(flags or {}, config, WITH_SECRET | dict(environ or {}))


def written(folder: Path, text: str) -> Path:
    file = folder / "here.toml"
    file.write_text(text)
    return file


def refused_path(config: Path | None = None, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as refused:
        load(config=config, environ=environ)
    assert str(refused.value).startswith(f"{refused.value.path}: ")
    assert "\n" not in str(refused.value)
    return refused.value.path


def test_the_shipped_file_says_what_the_code_says() -> None:
    """Two lists of defaults that differ would make one of them a lie."""
    code = dict(leaves(Settings()))
    said = dict(leaves(load_settings({}, None, WITH_SECRET).settings))
    said["auth.secret"] = None
    assert said == code


def test_the_shipped_file_names_every_setting() -> None:
    text = shipped("default.toml").read_text()
    named = tomllib.loads(re.sub(r"(?m)^# (\w+ = \"\")", r"\1", text))
    assert set(dotted(named)) == {path for path, _ in leaves(Settings())}


def dotted(tables: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tables.items():
        yield from dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]


def test_the_stronger_place_wins_and_is_remembered(tmp_path: Path) -> None:
    """Code, shipped file, own file, environment, flag: each over the one before."""
    config = written(tmp_path, "[server]\nhost = '127.0.0.3'\nport = 3\nmax_body = 3\n")
    environ = {"MARKETSTREAM_SERVER__PORT": "4", "MARKETSTREAM_SERVER__HOST": "127.0.0.4"}
    loaded = load({"server.host": "127.0.0.5"}, config, environ)
    server = loaded.settings.server
    assert (server.host, server.port, server.max_body, server.role) == ("127.0.0.5", 4, 3, "all")
    assert loaded.origins["server.host"] == "flag --host"
    assert loaded.origins["server.port"] == "environment MARKETSTREAM_SERVER__PORT"
    assert loaded.origins["server.max_body"] == str(config)
    assert loaded.origins["server.role"] == "config/default.toml"
    assert loaded.origins["auth.audience"] == "default"
    assert loaded.origins["auth.secret"] == "environment MARKETSTREAM_JWT_SECRET"


def test_every_setting_has_an_origin() -> None:
    loaded = load()
    assert list(loaded.origins) == [path for path, _ in leaves(loaded.settings)]


def test_a_flag_that_was_not_given_says_nothing() -> None:
    loaded = load({"server.host": None, "feeds.specs": [], "dev": None})
    assert {loaded.origins[path] for path in ("server.host", "feeds.specs", "dev")} == {"config/default.toml"}


def test_every_flag_sets_something_that_exists() -> None:
    assert FLAGS.keys() <= {path for path, _ in leaves(Settings())}


def test_the_environment_names_the_file_unless_the_command_line_does(tmp_path: Path) -> None:
    named = written(tmp_path, "server.port = 5")
    environ = {"MARKETSTREAM_CONFIG": str(named)}
    assert load(environ=environ).settings.server.port == 5
    other = tmp_path / "other.toml"
    other.write_text("server.port = 6")
    assert load(config=other, environ=environ).settings.server.port == 6


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[server]\nprot = 1", "server.prot"),
        ("[servr]\nport = 1", "servr.port"),
        ("port = 1", "port"),
        ("[elsewhere]", "elsewhere"),
        ("[server.port]\nhttp = 1", "server.port.http"),
        ("server = 8080", "server"),
        ("[server]\nport = 'many'", "server.port"),
        ("[server]\nport = 70000", "server.port"),
        ("[server]\nrole = 'king'", "server.role"),
        ("[server]\ntrusted_proxies = ['10.0.0.0/8', 'nobody']", "server.trusted_proxies[1]"),
        ("[server]\ndrain_timeout = 0", "server.drain_timeout"),
        ("[delivery]\nidle_timeout = inf", "delivery.idle_timeout"),
        ("[auth]\nalgorithms = ['none']", "auth.algorithms[0]"),
        ("[auth]\njwks = ''", "auth.jwks"),
        ("[bus]\nurl = 'here'", "bus.url"),
        ("[socketio]\npath = 'socket.io'", "socketio.path"),
        ("[log]\nlevel = 'loud'", "log.level"),
        ("[cache]\nurl = 'here'", "cache.url"),
        ("[cache]\nmax_entries = 0", "cache.max_entries"),
        ("[market]\nproviders = ['yahoo', 'bloomberg']", "market.providers[1]"),
        ("[market]\npopular = ['AAPL', 'not one']", "market.popular[1]"),
        ("[market]\npopular = []", "market.popular"),
        ("[market]\nindices = ['^GSPC']", "market.indices[0]"),
        ("[market]\nsectors = ['xlk Technology']", "market.sectors[0]"),
        ("[providers.fmp]\nper_day = -1", "providers.fmp.per_day"),
        ("[providers.fmp]\nper_year = 1", "providers.fmp.per_year"),
        ("[providers.fpm]\nper_day = 1", "providers.fpm.per_day"),
        ("[providers]\nfmp = 1", "providers.fmp"),
        ("[providers.tiingo]\nbase_url = 'tiingo'", "providers.tiingo.base_url"),
    ],
)
def test_what_is_unknown_or_impossible_in_a_file_stops_with_its_path(
    tmp_path: Path, text: str, path: str
) -> None:
    assert refused_path(written(tmp_path, text)) == path


@pytest.mark.parametrize("name", ["SERVER__PROT", "SERVR__PORT", "SERVER__PORT__X", "__", "DELIVERY__"])
def test_an_unknown_key_in_the_environment_stops_with_its_path(name: str) -> None:
    path = refused_path(environ={f"MARKETSTREAM_{name}": "1"})
    assert path == name.lower().replace("__", ".")


def test_a_misspelt_key_is_told_from_the_one_that_is_meant() -> None:
    with pytest.raises(ConfigurationError, match=r"server\.port.*MARKETSTREAM_SERVER__PROT"):
        load(environ={"MARKETSTREAM_SERVER__PROT": "1"})


@pytest.mark.parametrize("name", ["MARKETSTREAM_PORT", "MARKETSTREAM_SERVICE_HOST", "PATH", "X_SERVER__PORT"])
def test_names_without_a_section_are_not_ours(name: str) -> None:
    """A platform invents MARKETSTREAM_PORT=tcp://... for a service of that name."""
    assert load(environ={name: "tcp://10.0.0.1:80"}).settings == load().settings


def test_an_empty_value_in_the_environment_says_nothing() -> None:
    environ = {"MARKETSTREAM_SERVER__PORT": "", "REDIS_URL": " ", "CORS_ORIGINS": ""}
    assert load(environ=environ).settings == load().settings


@pytest.mark.parametrize(
    "text", ["http://a,https://b", " http://a , https://b ", '["http://a", "https://b"]']
)
def test_a_list_in_the_environment_is_comma_separated_or_json(text: str) -> None:
    for name in ("CORS_ORIGINS", "MARKETSTREAM_SERVER__CORS_ORIGINS"):
        assert load(environ={name: text}).settings.server.cors_origins == ("http://a", "https://b")


@pytest.mark.parametrize(
    "origin", ["app.example.com", "https://app.example.com/app", "null", "https://*", "https://a:b"]
)
def test_an_origin_that_can_never_match_stops_the_start(origin: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(environ={"CORS_ORIGINS": f"https://a.example,{origin}"})
    assert raised.value.path == "server.cors_origins[1]"


def test_origins_are_kept_as_browsers_write_them() -> None:
    written = "https://App.Example.com:443/,https://*.Example.com,*"
    found = load(environ={"CORS_ORIGINS": written}).settings.server.cors_origins
    assert found == ("https://app.example.com", "https://*.example.com", "*")


def test_cookies_of_every_page_stop_the_start() -> None:
    environ = {"CORS_ORIGINS": "*", "MARKETSTREAM_SERVER__CORS_CREDENTIALS": "true"}
    with pytest.raises(ConfigurationError, match="cors_credentials"):
        load(environ=environ)


@pytest.mark.parametrize("name", ["SERVER__PEER_TIMEOUT=30", "DELIVERY__SLOW_TIMEOUT=45"])
def test_slow_clients_are_told_so_before_the_kernel_ends_them(name: str) -> None:
    """A window that stays closed is for the kernel a peer that acknowledges nothing."""
    key, _, value = f"MARKETSTREAM_{name}".partition("=")
    with pytest.raises(ConfigurationError, match=r"longer than delivery\.slow_timeout") as raised:
        load(environ={key: value})
    assert raised.value.path == "server.peer_timeout"


@pytest.mark.parametrize("path", ["md", "/a b", "/a?b", "//evil.example", "/a#b", 'x">'])
def test_a_root_path_that_is_none_stops_the_start(path: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(environ={"MARKETSTREAM_SERVER__ROOT_PATH": path})
    assert raised.value.path == "server.root_path"


def test_feeds_in_the_environment_are_separated_by_spaces() -> None:
    """A spec holds commas of its own."""
    specs = load(
        environ={"MARKETSTREAM_FEEDS__SPECS": "synthetic?symbols=A,B&rate=1 none"}
    ).settings.feeds.specs
    assert specs == ("synthetic?symbols=A,B&rate=1", "none")


def test_the_section_name_beats_the_well_known_one() -> None:
    environ = {"CORS_ORIGINS": "http://a", "MARKETSTREAM_SERVER__CORS_ORIGINS": "http://b"}
    assert load(environ=environ).settings.server.cors_origins == ("http://b",)


def test_the_platforms_redis_is_the_bus_unless_anything_else_names_one(tmp_path: Path) -> None:
    environ = {"REDIS_URL": "redis://platform"}
    loaded = load(environ=environ)
    assert (loaded.settings.bus.url, loaded.origins["bus.url"]) == (
        "redis://platform",
        "environment REDIS_URL",
    )
    config = written(tmp_path, "bus.url = 'memory://'")
    assert load(config=config, environ=environ).settings.bus.url == "memory://"
    assert load({"bus.url": "redis://flag"}, environ=environ).settings.bus.url == "redis://flag"


@pytest.mark.parametrize(
    "name",
    [
        "ALPHA_VANTAGE_API_KEY",
        "FINANCIAL_MODELING_PREP_API_KEY",
        "TIINGO_API_KEY",
        "ALPACA_API_KEY",
        "ALPACA_API_SECRET",
    ],
)
def test_provider_keys_are_read_under_their_own_names_and_kept_secret(name: str) -> None:
    settings = load(environ={name: "the key"}).settings
    key = getattr(settings.providers, name.lower())
    assert isinstance(key, SecretStr)
    assert key.get_secret_value() == "the key"
    assert "the key" not in repr(settings)


def test_without_a_secret_or_keys_there_is_no_start() -> None:
    with pytest.raises(ConfigurationError, match="MARKETSTREAM_JWT_SECRET") as refused:
        load_settings({}, None, {})
    assert refused.value.path == "auth.secret"
    assert load_settings({}, None, {"MARKETSTREAM_AUTH__JWKS": "keys.json"}).settings.auth.secret is None


def test_a_short_secret_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings({}, None, {"MARKETSTREAM_JWT_SECRET": "brief"})
    assert refused.value.path == "auth.secret"
    assert "brief" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_dev_mode_brings_a_new_secret_and_a_synthetic_feed() -> None:
    one, two = load_settings({"dev": True}, None, {}), load_settings({"dev": True}, None, {})
    assert one.settings.feeds.specs == ("synthetic",)
    assert one.settings.auth.secret is not None
    assert len(one.settings.auth.secret.get_secret_value()) >= 32
    assert one.settings.auth.secret != two.settings.auth.secret
    assert one.origins["auth.secret"] == one.origins["feeds.specs"] == "dev mode"
    assert one.origins["dev"] == "flag --dev"


def test_dev_mode_keeps_what_was_given() -> None:
    settings = load({"dev": True, "feeds.specs": ["none"]}).settings
    assert settings.feeds.specs == ("none",)
    assert settings.auth.secret == SecretStr(SECRET)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.com"])  # noqa: S104  # what is refused
def test_dev_mode_listens_on_loopback_only(host: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load({"dev": True, "server.host": host})
    assert refused.value.path == "server.host"
    assert load({"server.host": host}).settings.server.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_dev_mode_takes_every_name_of_loopback(host: str) -> None:
    assert load({"dev": True, "server.host": host}).settings.dev


@pytest.mark.parametrize("content", [b"x = = 1", b"\xff"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=re.escape(str(file))):
        load(config=file)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.toml: No such file"):
        load(config=tmp_path / "absent.toml")


def test_a_file_beside_a_checkout_or_inside_a_package_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside the installed package first: a stray `config` beside it is somebody else's."""
    package = tmp_path / "marketstream"
    monkeypatch.setattr(settings_toml, "_PACKAGE", package)
    with pytest.raises(ConfigurationError, match=r"plans\.toml"):
        shipped("plans.toml")
    for folder in (tmp_path / "config", package / "config"):
        folder.mkdir(parents=True)
        (folder / "plans.toml").touch()
        assert shipped("plans.toml") == folder / "plans.toml"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load().settings.server.port = 1


def registry(mode: str, file: Path | None = None) -> SymbolRegistry:
    environ = {"MARKETSTREAM_SYMBOLS__MODE": mode}
    return load_registry(
        load(environ=environ | ({"MARKETSTREAM_SYMBOLS__FILE": str(file)} if file else {})).settings
    )


def test_an_open_registry_serves_what_is_well_formed(tmp_path: Path) -> None:
    assert registry("open", tmp_path / "not read").accepts("WHATEVER")


def test_a_listed_registry_serves_what_its_file_lists(tmp_path: Path) -> None:
    assert registry("listed").accepts("EUR/USD")
    assert not registry("listed").accepts("WHATEVER")
    own = registry("listed", written(tmp_path, "symbols = ['abc', 'BTC/*']"))
    assert [own.accepts(symbol) for symbol in ("ABC", "BTC/EUR", "EUR/USD")] == [True, True, False]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("symbols = 'AAPL'", "symbols"),
        ("symbols = ['AAPL', 'no symbol']", "symbols[1]"),
        ("symbols = ['AAPL', '']", "symbols[1]"),
        ("symbols = []\nmore = 1", "more"),
        ("", "symbols"),
    ],
)
def test_a_list_of_symbols_that_is_none_stops_with_its_path(tmp_path: Path, text: str, path: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        registry("listed", written(tmp_path, text))
    assert refused.value.path == path


def test_a_list_of_symbols_that_is_missing_is_told_by_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        registry("listed", tmp_path / "absent.toml")
    assert refused.value.path == "symbols.file"


def test_dev_mode_asks_nobody_but_the_synthetic_market_unless_told_otherwise() -> None:
    """It answers without a key and without a network."""
    loaded = load({"dev": True})
    assert loaded.settings.market.providers == ("synthetic",)
    assert loaded.origins["market.providers"] == "dev mode"
    told = load({"dev": True}, environ={"MARKETSTREAM_MARKET__PROVIDERS": "yahoo,synthetic"})
    assert told.settings.market.providers == ("yahoo", "synthetic")
    assert load().settings.market.providers == ()


def test_lists_of_the_market_can_be_given_in_the_environment() -> None:
    environ = {
        "MARKETSTREAM_MARKET__INDICES": "^X Index X, ^Y Index Y",
        "MARKETSTREAM_MARKET__POPULAR": "A,EUR/USD",
    }
    market = load(environ=environ).settings.market
    assert (market.indices, market.popular) == (("^X Index X", "^Y Index Y"), ("A", "EUR/USD"))
