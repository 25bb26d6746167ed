import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from marketstream.coordination.claims import RedisClaims
from marketstream.errors import BusError
from marketstream.wire import keys
from tests.support.fake_redis import FakeRedis
from tests.support.instant import instant


@instant
async def test_who_asks_first_has_a_run_until_its_time_is_over() -> None:
    redis = FakeRedis()
    one, other = RedisClaims(redis.client(), "one"), RedisClaims(redis.client(), "other")
    assert await one.take("job", 7, 5)
    assert not await other.take("job", 7, 5)
    assert await other.take("job", 8, 5)
    assert await other.take("another", 7, 5)
    await asyncio.sleep(5)
    assert await other.take("job", 7, 5)


@instant
async def test_a_claim_whose_answer_was_lost_is_ones_own_when_it_is_asked_again() -> None:
    redis = FakeRedis()
    claims = RedisClaims(redis.client(), "one")
    redis.lose("SET")
    with pytest.raises(BusError, match="cannot be claimed") as caught:
        await claims.take("job", 7, 5)
    assert isinstance(caught.value.__cause__, RedisConnectionError)
    assert keys.claim("job", 7) in str(caught.value)
    assert await claims.take("job", 7, 5)
