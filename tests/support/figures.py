"""What a server process weighs and what it counts, as an operator would ask."""

import os
from pathlib import Path

import aiohttp

from tests.support.server import Server


def memory(server: Server) -> int:
    """Bytes of memory the server holds."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def metric(server: Server, series: str) -> float:
    """A figure of the server; 0 when it has never been counted."""
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/metrics") as answer:
        lines = [line.rpartition(" ") for line in (await answer.text()).splitlines()]
    return next((float(value) for name, _, value in lines if name == series), 0.0)
