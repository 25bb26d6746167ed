"""Where a server listens."""

import pytest

from tests.support.eventually import eventually
from tests.support.exchange import exchange, request
from tests.support.server import running_server

REQUEST = request("/healthz", "Connection: close")


@pytest.mark.parametrize("loop", ["auto", "uvloop", "asyncio"])
@pytest.mark.parametrize("host", ["::", ""])
async def test_every_address_is_of_both_families(host: str, loop: str) -> None:
    async with running_server("--host", host, env={"MARKETSTREAM_SERVER__LOOP": loop}) as server:
        for address in ("127.0.0.1", "::1"):
            assert (await exchange(server.port, REQUEST, host=address)).status == 200
        [started] = await eventually(lambda: server.events("server_started"), what="the address in the log")
        assert started["url"] == f"http://[::]:{server.port}/"


async def test_one_address_is_of_its_own_family() -> None:
    async with running_server() as server:
        assert (await exchange(server.port, REQUEST)).status == 200
        with pytest.raises(OSError, match="Connect"):
            await exchange(server.port, REQUEST, host="::1")
