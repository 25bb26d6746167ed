"""Accept connections, and pause while file descriptors are short.

Every loop has an `accept` of its own; at the limit one spins, one fills the log and one closes whoever comes.
This one keeps some descriptors back for the bus, vendors and files, and lets the kernel's queue wait.
"""

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Awaitable, Callable

import structlog

from marketstream.engine.stats import Stats

log = structlog.get_logger(__name__)

Connect = Callable[[Callable[[], asyncio.Protocol], socket.socket], Awaitable[object]]
"""Makes the loop's transport of a socket that was accepted."""

ACCEPTED_AT_ONCE = 100
"""Connections taken in one turn of the loop: whoever is connected already has a turn between a storm's."""

RETRY = 0.1
"""Seconds between two looks for a free descriptor."""

CALM = 10.0
"""Seconds without a pause after which the log says that it is over."""

MOST_DESCRIPTORS = 1_048_576
"""What is asked for where the system sets no limit."""

_NO_FAMILY = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

_PASSING = (errno.ECONNABORTED, errno.EPROTO)
"""The client was gone before it was accepted."""


def raise_descriptor_limit() -> int:
    """Raise the limit of open files as far as the system lets an unprivileged process.

    Returns:
        The limit that counts now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        log.warning("descriptor_limit_kept", limit=soft, wanted=wanted, error=str(error))
        return soft
    return wanted


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets to listen on; `::` and the empty name mean every address of both families.

    Raises:
        OSError: None can be had.
    """
    if host in ("", "::"):
        try:
            return [socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)]
        except (ValueError, OSError) as error:
            # A system without IPv6 says so in several ways.
            if isinstance(error, OSError) and error.errno not in _NO_FAMILY:
                raise
            host = "0.0.0.0"  # noqa: S104  # as asked
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    for family, address in dict.fromkeys((each[0], each[4]) for each in found):
        # A port that the system chose for the first is everybody's.
        chosen = sockets[0].getsockname()[1] if sockets and port == 0 else port
        try:
            sockets.append(socket.create_server((str(address[0]), chosen), family=family))
        except OSError as error:
            if error.errno not in _NO_FAMILY or family != socket.AF_INET6:
                _close(sockets)
                raise
    if not sockets:
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return sockets


class Listener:
    """Listens until it is closed.

    Args:
        sockets: Bound ones, as of `bind`; they become its own.
        make: Makes the protocol of a connection.
        connect: As `Connect`.
        stats: Where pauses are counted.
        backlog: Connections that the kernel may hold.
        reserve: Descriptors kept back; a quarter of all where that is less.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        *,
        make: Callable[[], asyncio.Protocol],
        connect: Connect,
        stats: Stats,
        backlog: int,
        reserve: int,
    ) -> None:
        self._sockets = sockets
        self._make = make
        self._connect = connect
        self._stats = stats
        self._backlog = backlog
        self._reserve = reserve
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Future[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._calm: asyncio.TimerHandle | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first socket."""
        host, port = self._sockets[0].getsockname()[:2]
        return host, port

    def start(self) -> None:
        """Begin to accept."""
        for sock in self._sockets:
            sock.setblocking(False)
            sock.listen(self._backlog)
        self._resume()

    async def close(self) -> None:
        """Accept nobody any more; those who were accepted stay."""
        for timer in (self._retry, self._calm):
            if timer is not None:
                timer.cancel()
        self._stop()
        _close(self._sockets)
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, _address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _PASSING:
                    continue
                # Whatever it was, the socket stays readable: to try again at once would be to spin.
                self._pause(str(error.strerror))
                return
            self._begin(accepted)
            if self._is_short(accepted.fileno()):
                self._pause("few file descriptors are left")
                return

    def _begin(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        task = self._loop.create_task(self._connected(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, accepted: socket.socket) -> None:
        try:
            await self._connect(self._make, accepted)
        except Exception as error:  # noqa: BLE001  # one connection that fails concerns no other
            accepted.close()
            log.debug("connection_not_made", error=repr(error))

    def _is_short(self, descriptor: int) -> bool:
        """Return whether too few are left.

        The system gives the lowest free number, so all below it are in use.
        """
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return limit != resource.RLIM_INFINITY and descriptor >= limit - min(self._reserve, limit // 4)

    # Pauses

    def _pause(self, reason: str) -> None:
        self._stop()
        self._stats.accepting = False
        self._stats.accept_pauses += 1
        if self._calm is None:
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            log.warning("accepting_paused", reason=reason, limit=limit, reserve=self._reserve)
        else:
            self._calm.cancel()
        self._calm = self._loop.call_later(CALM, self._announce)
        self._retry = self._loop.call_later(RETRY, self._try_again)

    def _try_again(self) -> None:
        try:
            free = os.dup(self._sockets[0].fileno())
            os.close(free)
            short = self._is_short(free)
        except OSError:
            short = True
        if short:
            self._retry = self._loop.call_later(RETRY, self._try_again)
        else:
            self._resume()

    def _resume(self) -> None:
        self._retry = None
        self._stats.accepting = True
        for sock in self._sockets:
            self._loop.add_reader(sock, self._accept, sock)

    def _stop(self) -> None:
        for sock in self._sockets:
            self._loop.remove_reader(sock)

    def _announce(self) -> None:
        """Say that the shortage is over, unless nobody can be accepted even now."""
        if self._retry is not None:
            self._calm = self._loop.call_later(CALM, self._announce)
            return
        self._calm = None
        log.info("accepting_resumed", pauses=self._stats.accept_pauses)


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
