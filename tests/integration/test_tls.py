"""A bus behind TLS: `rediss://`."""

from pathlib import Path

from tests.conformance.market import new_symbol, price
from tests.conformance.raw import raw_socket
from tests.support.eventually import eventually
from tests.support.gateways import gateways, next_price, readiness, subscribe
from tests.support.server import running_server
from tests.support.tls import tls_door
from tests.support.valkey import Valkey


async def test_gateways_meet_through_a_redis_that_speaks_tls(valkey: Valkey, tmp_path: Path) -> None:
    symbol = new_symbol("TLS")
    async with tls_door(valkey.port, tmp_path) as door:
        url = f"rediss://127.0.0.1:{door.port}/0?ssl_ca_certs={door.authority}"
        async with (
            gateways(url) as (first, second),
            raw_socket(second.url, token=second.token()) as socket,
        ):
            await subscribe(socket, symbol)
            await first.publish(prices=[price(symbol, 3)])
            await next_price(socket, 3)


async def test_a_redis_whose_certificate_nobody_vouches_for_is_not_spoken_to(
    valkey: Valkey, tmp_path: Path
) -> None:
    async with (
        tls_door(valkey.port, tmp_path) as door,
        running_server("--bus", f"rediss://127.0.0.1:{door.port}/0") as server,
    ):
        assert (await readiness(server))["reasons"] == ["the bus is not reachable"]
        await eventually(lambda: server.events("bus_disconnected"), 10, "a word about it")
        assert "self-signed certificate" in server.events("bus_disconnected")[0]["reason"]
