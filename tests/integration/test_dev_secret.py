"""Development mode over a restart."""

from pathlib import Path

import aiohttp

from tests.support.server import running_server


async def test_a_token_of_development_mode_outlives_a_restart(tmp_path: Path) -> None:
    """A client with a fixed token must not stay out for ever."""
    env = {"MARKETSTREAM_JWT_SECRET": "", "XDG_STATE_HOME": str(tmp_path)}
    async with aiohttp.ClientSession() as session:
        async with (
            running_server("--dev", env=env) as server,
            session.get(f"{server.url}/dev/token") as answer,
        ):
            token = (await answer.json())["token"]
        async with running_server("--dev", env=env) as server:
            headers = {"Authorization": f"Bearer {token}"}
            async with session.get(f"{server.url}/api/v1/market/providers", headers=headers) as answer:
                assert answer.status == 200
