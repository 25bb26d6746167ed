"""Choose the event loop, open the listening sockets and set the limits of HTTP."""

import asyncio
from collections.abc import Callable
from functools import partial

import aiofastnet
import uvloop
from aiohttp import web

from marketstream.engine.stats import Stats
from marketstream.errors import ConfigurationError
from marketstream.settings.model import Server
from marketstream.transports.answer import Answers
from marketstream.transports.http import HttpConnection, Limits
from marketstream.transports.listener import Connect, Listener, bind
from marketstream.transports.peer import give_up_after

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    # docs/performance.md and ADR 0009: cheapest on a prototype, no worse than the others in the whole.
    "auto": aiofastnet.loop_factory(uvloop.new_event_loop),
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


def listen(server: Server, runner: web.AppRunner, answers: Answers, stats: Stats) -> Listener:
    """Begin to accept clients.

    Args:
        server: What was set.
        runner: Of the application; it has been set up.
        answers: What is around its handlers.
        stats: Where pauses of accepting are counted.

    Raises:
        ConfigurationError: The address is not to be had.
    """
    manager = answers.attach(runner)
    loop = asyncio.get_running_loop()
    limits = Limits(
        line=server.max_line, headers=server.max_headers, head=server.max_head, keepalive=server.keepalive
    )
    try:
        sockets = bind(server.host, server.port)
        for each in sockets:
            give_up_after(each, server.peer_timeout)
    except OSError as error:
        text = f"cannot listen on {server.host} port {server.port}: {error.strerror or error}"
        raise ConfigurationError("server.port", text) from error
    listener = Listener(
        sockets,
        make=partial(HttpConnection, manager, loop=loop, limits=limits, refuse=answers.refuse),
        connect=_connect(server.loop, loop),
        stats=stats,
        backlog=server.backlog,
        reserve=server.reserve,
    )
    listener.start()
    return listener


def url(address: tuple[str, int]) -> str:
    """Return how a browser on this machine would reach it."""
    host, port = address
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _connect(name: str, loop: asyncio.AbstractEventLoop) -> Connect:
    if name == "auto":
        # The loop's own method would make the transport of the loop below.
        return partial(aiofastnet.connect_accepted_socket, loop)
    return loop.connect_accepted_socket
