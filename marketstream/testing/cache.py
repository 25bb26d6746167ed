"""What every cache promises, wherever it keeps its values. See `ports.Cache`."""

import pytest

from marketstream.ports import Cache
from marketstream.testing.eventually import eventually

LONG = 60.0


class CacheContract:
    """Tests of `ports.Cache`; each asks for the fixture `cache`: one that is empty and can be reached."""

    @pytest.mark.parametrize("value", [b"", b"{}", b"\x00\xff\r\n", b"x" * 100_000])
    async def test_a_value_comes_back_exactly_as_it_was_put(self, cache: Cache, value: bytes) -> None:
        await cache.put([("quote:AAPL", value, LONG)])
        assert await cache.get("quote:AAPL") == value

    async def test_what_was_never_put_is_not_there(self, cache: Cache) -> None:
        assert await cache.get("quote:NOPE") is None

    async def test_several_values_are_put_at_once(self, cache: Cache) -> None:
        await cache.put([(f"quote:{name}", name.encode(), LONG) for name in ("A", "B", "EUR/USD")])
        assert [await cache.get(f"quote:{name}") for name in ("A", "B", "EUR/USD")] == [
            b"A",
            b"B",
            b"EUR/USD",
        ]

    async def test_a_newer_value_takes_the_place_of_the_older(self, cache: Cache) -> None:
        await cache.put([("k", b"1", LONG)])
        await cache.put([("k", b"2", LONG)])
        assert await cache.get("k") == b"2"

    async def test_a_value_is_gone_when_its_time_is_over_and_others_stay(self, cache: Cache) -> None:
        await cache.put([("short", b"1", 0.02), ("long", b"2", LONG)])

        async def gone() -> bool:
            return await cache.get("short") is None

        await eventually(gone, what="the end of a value")
        assert await cache.get("long") == b"2"

    async def test_a_value_that_is_put_again_lives_by_its_new_time(self, cache: Cache) -> None:
        await cache.put([("k", b"1", 0.02)])
        await cache.put([("k", b"2", LONG), ("other", b"3", 0.02)])

        async def gone() -> bool:
            return await cache.get("other") is None

        await eventually(gone, what="the end of a value")
        assert await cache.get("k") == b"2"

    async def test_nothing_to_put_is_no_fault(self, cache: Cache) -> None:
        await cache.put([])
        assert cache.connected
