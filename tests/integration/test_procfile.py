"""The Procfile, run by honcho as somebody would who tries marketstream out."""

import os
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import jwt

from tests.support.eventually import eventually
from tests.support.program import Program, clean_environment
from tests.support.server import free_port

PROCFILE = Path(__file__).parents[2] / "Procfile"
PARTS = ("FEED_PORT", "WEB1_PORT", "WEB2_PORT", "JOBS_PORT")


def started(folder: Path, ports: Mapping[str, str]) -> Program:
    """`honcho start` in a folder of its own, with the commands of this Python first on PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    words = [sys.executable, "-m", "honcho", "-d", str(folder), "-f", str(PROCFILE), "start"]
    return Program(words, env=clean_environment({"PATH": path, **ports}), merged=True)


def own_ports() -> dict[str, str]:
    """A free port for each part."""
    return {name: str(free_port()) for name in ("REDIS_PORT", *PARTS)}


async def test_one_command_runs_a_market_with_two_doors(tmp_path: Path) -> None:
    """Every part gets ready, and a price of the feed comes out of both gateways."""
    secret = secrets.token_hex(32)
    (tmp_path / ".env").write_text(f"MARKETSTREAM_JWT_SECRET={secret}\n")
    ports = own_ports()
    claims = {"sub": "u1", "tenantId": "acme", "exp": int(time.time()) + 600}
    headers = {"Authorization": f"Bearer {jwt.encode(claims, secret, algorithm='HS256')}"}
    with started(tmp_path, ports) as program:
        async with aiohttp.ClientSession(headers=headers) as session:
            for name in PARTS:
                url = f"http://127.0.0.1:{ports[name]}"
                await ready(session, url, program)
                assert await answers(session, f"{url}/healthz")
                assert await answers(session, f"{url}/metrics")
            for name in ("WEB1_PORT", "WEB2_PORT"):
                url = f"http://127.0.0.1:{ports[name]}/market-data/stream"
                async with session.get(url, params={"symbols": "EUR/USD"}) as stream:
                    assert stream.status == 200
                    lines = aiter(stream.content)
                    while not (await anext(lines)).startswith(b"event: price"):
                        pass
        program.terminate()
    assert not [line for line in program.out if "Traceback" in line]


async def ready(session: aiohttp.ClientSession, url: str, program: Program) -> None:
    """Waits until a part is ready; a failure shows what they all printed."""
    try:
        await eventually(lambda: not program.running or answers(session, f"{url}/readyz"), 30, url)
        assert program.running
    except AssertionError as error:
        error.add_note("\n".join(program.out))
        raise


async def answers(session: aiohttp.ClientSession, url: str) -> bool:
    """Whether it answers 200."""
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False


async def test_without_a_secret_it_says_what_is_missing_and_ends(tmp_path: Path) -> None:
    with started(tmp_path, own_ports()) as program:
        await eventually(lambda: not program.running, 20, "the end of honcho")
        assert program.wait(1) == 2
    assert [line for line in program.out if "set MARKETSTREAM_JWT_SECRET" in line]
