"""Keep the generated secret of development mode.

It stands in `$XDG_STATE_HOME/marketstream/dev-secret` (`~/.local/state` unless set), for nobody else to read.
One that is not whole, or that others could read or have put there, is replaced. Where none can be kept each
start has one of its own, as a start that cannot write must still be a start.
"""

import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

_NAME: Final = "dev-secret"
_BYTES: Final = 48
_LENGTH: Final = len(secrets.token_urlsafe(_BYTES))
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_ALPHABET: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def kept_secret(environ: Mapping[str, str]) -> str:
    """Return the secret that is kept, which is made where there is none.

    Args:
        environ: The environment: it says where users keep such things.
    """
    fresh = secrets.token_urlsafe(_BYTES)
    folder = _folder(environ)
    if folder is None:
        return fresh
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _read(folder / _NAME) or _keep(folder / _NAME, fresh)
    return fresh


def _folder(environ: Mapping[str, str]) -> Path | None:
    """Return where state of this program is kept; None where nobody says."""
    state = environ.get("XDG_STATE_HOME", "")
    # A relative one counts for nothing, as the specification of XDG has it.
    if not Path(state).is_absolute():
        home = environ.get("HOME", "")
        if not Path(home).is_absolute():
            return None
        state = f"{home}/.local/state"
    return Path(state) / "marketstream"


def _read(path: Path) -> str | None:
    """Return the secret in a file; None when it is not there, not whole, or not this user's alone."""
    try:
        # Not blocking: what has the name may be a pipe.
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(number, "rb") as file:
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode) or found.st_mode & _OTHERS or found.st_uid != os.geteuid():
            return None
        text = file.read(_LENGTH + 2).decode("latin-1").strip()
    return text if len(text) == _LENGTH and _ALPHABET.issuperset(text) else None


def _keep(path: Path, secret: str) -> str:
    """Put a secret where there is no good one; returns that of another process which was first.

    Raises:
        OSError: It cannot be kept.
    """
    draft = path.with_name(f"{_NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(number, "w") as file:
            file.write(f"{secret}\n")
        try:
            os.link(draft, path)
        except OSError:  # there is one, or there are no links here
            if first := _read(path):
                return first
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return secret
