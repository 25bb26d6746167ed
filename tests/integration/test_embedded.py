"""`marketstream redis`, as a Procfile runs it."""

import asyncio
import sys

from redis.asyncio import Redis

from tests.support.eventually import eventually
from tests.support.program import Program, clean_environment
from tests.support.server import free_port


def embedded(port: int) -> Program:
    """The command on a port."""
    command = [sys.executable, "-m", "marketstream", "redis", "--port", str(port)]
    return Program(command, env=clean_environment())


async def test_the_embedded_valkey_answers_until_it_is_told_to_end() -> None:
    port = free_port()
    with embedded(port) as program:
        await eventually(lambda: program.out == [f"redis://127.0.0.1:{port}/0"], 15, "its address")
        async with Redis(port=port) as client:
            assert await client.ping()
        assert await asyncio.to_thread(program.terminate) == 0
    assert program.err == []


async def test_a_port_that_is_taken_is_refused_in_one_line() -> None:
    port = free_port()
    with embedded(port) as first:
        await eventually(lambda: first.out, 15, "its address")
        with embedded(port) as second:
            assert await asyncio.to_thread(second.wait, 15) == 2
        assert second.err == [
            f"marketstream: --port: cannot listen on 127.0.0.1 port {port}: Address already in use"
        ]
        await asyncio.to_thread(first.terminate)
