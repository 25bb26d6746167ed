"""A gateway inside a back end's own program, which calls its Socket.IO server when it is told to.

Takes the flags of `marketstream serve` that tests use. `POST /call/NAME` with {args, kwargs} calls
`sio.NAME(*args, **kwargs)` for the namespace.
"""

import argparse
import asyncio
import os

from aiohttp import web

from marketstream.app import Server
from marketstream.listening import LOOPS
from marketstream.observability.logging import configure
from marketstream.settings import load_settings


def main() -> None:
    """Serves until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("serve")
    for flag in ("--host", "--port", "--bus", "--feed"):
        parser.add_argument(flag)
    given = parser.parse_args()
    flags = {"server.host": given.host, "server.port": int(given.port), "bus.url": given.bus}
    settings = load_settings(flags, None, os.environ).settings
    configure("info", "json")
    with asyncio.Runner(loop_factory=LOOPS["auto"]) as runner:
        runner.run(serve(Server(settings)))


async def serve(server: Server) -> None:
    """Runs a server with the route of the back end's own."""

    async def call(request: web.Request) -> web.Response:
        told = await request.json()
        method = getattr(server.socketio, request.match_info["name"])
        await method(*told["args"], namespace="/market-data", **told.get("kwargs", {}))
        return web.Response()

    server.app.router.add_post("/call/{name}", call)
    await server.run()


if __name__ == "__main__":
    main()
