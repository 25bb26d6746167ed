"""Read TOML files, and report faults in one sentence."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from marketstream.errors import ConfigurationError

_PACKAGE = Path(__file__).parent.parent


def shipped(name: str) -> Path:
    """Return where a file of `config/` is: inside the installed package, or beside it in a checkout.

    Raises:
        ConfigurationError: It is in neither place.
    """
    for folder in (_PACKAGE / "config", _PACKAGE.parent / "config"):
        if (folder / name).is_file():
            return folder / name
    raise ConfigurationError("", f"config/{name} is missing from this installation")


def read_toml(path: Path, setting: str = "") -> dict[str, Any]:
    """Return the tables of a file.

    Args:
        path: The file.
        setting: Dotted path of the setting that named it, for the error.

    Raises:
        ConfigurationError: It cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(setting, f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # also what is not UTF-8
        raise ConfigurationError(setting, f"{path} is not TOML: {error}") from error


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Dotted path and sentence of the first thing that is wrong; never the value, which may be a secret."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return path.lstrip("."), "unknown key"
    text = fault["msg"].removeprefix("Value error, ")
    return path.lstrip("."), text[0].lower() + text[1:]
