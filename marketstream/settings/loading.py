"""Load settings from five sources, weakest first, and remember which source set each.

Code defaults, the shipped `config/default.toml`, a file of the operator, the environment, flags. A key that
nobody knows stops the start with its path: a misspelt limit must not be a limit that is not there.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from marketstream.errors import ConfigurationError
from marketstream.settings.model import Settings
from marketstream.settings.secret import kept_secret
from marketstream.settings.toml import first_fault, read_toml, shipped

FLAGS = {
    "server.host": "--host",
    "server.port": "--port",
    "server.role": "--role",
    "feeds.specs": "--feed",
    "bus.url": "--bus",
    "dev": "--dev",
}
"""Flags of `serve` by the setting they set."""

DEV_MODE = "dev mode"
"""Origin of what `--dev` brings along."""

_PREFIX = "MARKETSTREAM_"
WELL_KNOWN = {
    "CORS_ORIGINS": "server.cors_origins",
    "MARKETSTREAM_JWT_SECRET": "auth.secret",
    "ALPHA_VANTAGE_API_KEY": "providers.alpha_vantage_api_key",
    "FINANCIAL_MODELING_PREP_API_KEY": "providers.financial_modeling_prep_api_key",
    "TIINGO_API_KEY": "providers.tiingo_api_key",
    "ALPACA_API_KEY": "providers.alpaca_api_key",
    "ALPACA_API_SECRET": "providers.alpaca_api_secret",
}
"""Settings by the variables that name them without a prefix."""
_NO_KEY = (
    "there is no secret and no JWKS to check tokens with; set MARKETSTREAM_JWT_SECRET to at least 32 random "
    "bytes, or auth.jwks to your issuer's keys; `serve --dev` makes a secret of its own"
)
_NO_WORD = (
    "it must be longer than delivery.slow_timeout, {:g} s: otherwise the kernel ends clients that take "
    "nothing, and neither they nor the log are told that they were too slow"
)

Said = dict[str, tuple[object, str]]
"""Value and origin by the dotted path of the setting."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and where they came from.

    Attributes:
        settings: What counts.
        origins: For each dotted path `default`, a file, `environment NAME`, `flag --x` or `dev mode`.
    """

    settings: Settings
    origins: Mapping[str, str]


def load_settings(flags: Mapping[str, object], config: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Read all five sources and check them.

    Args:
        flags: Values by dotted path, as in `FLAGS`; None and empty lists say nothing.
        config: The operator's file; None: what MARKETSTREAM_CONFIG names, if anything.
        environ: The environment; an empty value says nothing.

    Raises:
        ConfigurationError: A key is unknown, a value is impossible, or the whole is not safe to start.
    """
    given = {name: value for name, value in environ.items() if value.strip()}
    if config is None and "MARKETSTREAM_CONFIG" in given:
        config = Path(given["MARKETSTREAM_CONFIG"])
    said = _from_file(shipped("default.toml"), "config/default.toml")
    if (
        "REDIS_URL" in given
    ):  # set by many a platform for all its programs, hence weaker than any word to this one
        said["bus.url"] = (given["REDIS_URL"], "environment REDIS_URL")
    if config is not None:
        said |= _from_file(config, str(config))
    said |= _from_environment(given)
    said |= {
        path: (value, f"flag {FLAGS[path]}") for path, value in flags.items() if value not in (None, [], ())
    }
    settings = _settings(said)
    if settings.dev:
        said |= _of_dev_mode(settings, given)
        settings = _settings(said)
    if settings.auth.secret is None and settings.auth.jwks is None:
        raise ConfigurationError("auth.secret", _NO_KEY)
    if settings.server.peer_timeout <= settings.delivery.slow_timeout:
        raise ConfigurationError("server.peer_timeout", _NO_WORD.format(settings.delivery.slow_timeout))
    return Loaded(
        settings, {path: said[path][1] if path in said else "default" for path, _ in leaves(settings)}
    )


def leaves(table: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting with its dotted path, in the order of the model."""
    for name in type(table).model_fields:
        value = getattr(table, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


_PATHS = frozenset(path for path, _ in leaves(Settings()))
_TABLES = frozenset(path[:at] for path in _PATHS for at, sign in enumerate(path) if sign == ".")


def _from_file(file: Path, origin: str) -> Said:
    said: Said = {}
    for path, value in _flat(read_toml(file)):
        _check_known(path, origin)
        said[path] = (value, origin)
    return said


def _flat(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tables.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and (value or path in _TABLES):
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def _from_environment(given: Mapping[str, str]) -> Said:
    said: Said = {
        path: (given[name], f"environment {name}") for name, path in WELL_KNOWN.items() if name in given
    }
    for name, value in given.items():
        # Names without a section are left alone: platforms invent MARKETSTREAM_PORT=tcp://... and the like.
        if name.startswith(_PREFIX) and "__" in name:
            path = name.removeprefix(_PREFIX).lower().replace("__", ".")
            _check_known(path, f"environment {name}")
            said[path] = (value, f"environment {name}")
    return said


def _check_known(path: str, origin: str) -> None:
    if path in _PATHS:
        return
    if path in _TABLES:
        raise ConfigurationError(path, f"it is a table of settings, not a setting ({origin})")
    close = get_close_matches(path, _PATHS, n=1)
    hint = f"; is {close[0]} meant?" if close else ""
    raise ConfigurationError(path, f"unknown key{hint} ({origin})")


def _settings(said: Said) -> Settings:
    tables: dict[str, Any] = {}
    for path, (value, _) in said.items():
        *above, key = path.split(".")
        table = tables
        for name in above:
            table = table.setdefault(name, {})
        table[key] = value
    try:
        return Settings.model_validate(tables)
    except ValidationError as error:
        path, text = first_fault(error)
        origin = said.get(path.partition("[")[0], (None, "default"))[1]
        raise ConfigurationError(path, f"{text} ({origin})") from None  # the cause would show the value


def _of_dev_mode(settings: Settings, environ: Mapping[str, str]) -> Said:
    if not _is_loopback(settings.server.host):
        text = (
            f"dev mode gives a token to whoever asks, so it listens on loopback, not {settings.server.host}"
        )
        raise ConfigurationError("server.host", text)
    said: Said = {}
    if settings.auth.secret is None:
        said["auth.secret"] = (kept_secret(environ), DEV_MODE)
    if not settings.feeds.specs:
        said["feeds.specs"] = (("synthetic",), DEV_MODE)
    if not settings.market.providers:
        said["market.providers"] = (("synthetic",), DEV_MODE)
    return said


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
