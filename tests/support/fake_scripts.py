"""What the scripts of the bus and the coordination do, in Python; see `fake_redis`.

Each is a twin of a file in a folder `lua`, which says what its keys and words are.
"""

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from marketstream.bus.pulse import PULSE
from marketstream.bus.sender import PUBLISH, RESTORE
from marketstream.coordination import connection_limits, interest_gossip, membership
from marketstream.coordination.lease import FENCE, RELEASE, TAKE

if TYPE_CHECKING:
    from tests.support.fake_redis import FakeRedis

Names = Sequence[str]
Words = Sequence[bytes]
Twin = Callable[["FakeRedis", Names, Words], Any]

CURSOR = struct.Struct(">Q")
HEAD = struct.Struct(">BQQI")


def take(redis: "FakeRedis", names: Names, words: Words) -> bytes:
    """Twin of `lease.lua`."""
    node, held, ttl = words
    holder, newest = redis.live(names[0]), redis.live(names[1])
    if (holder and holder != node) or (held and newest and newest != held):
        return b""
    if not newest or newest != held:
        newest = b"%d" % max(redis.micros, int(newest or 0) + 1)
        redis.store(names[1], newest)
    redis.store(names[0], node)
    redis.expire(names[0], int(ttl))
    return bytes(newest)


def fence(redis: "FakeRedis", names: Names, words: Words) -> bytes:
    """Twin of `fence.lua`."""
    current = redis.live(names[0])
    if current and int(current) >= int(words[0]):
        return bytes(current)
    redis.store(names[0], words[0])
    return words[0]


def release(redis: "FakeRedis", names: Names, words: Words) -> int:
    """Twin of `lease.RELEASE`."""
    return redis.remove(names[0]) if redis.live(names[0]) == words[0] else 0


def pulse(redis: "FakeRedis", names: Names, words: Words) -> int:
    """Twin of `pulse.lua`."""
    every = 1
    for shut, sign in zip(names[::2], names[1::2], strict=True):
        if redis.live(shut) == words[0]:
            redis.store(sign, words[0])
            redis.expire(sign, int(words[1]))
        else:
            every = 0
    return every


def place(redis: "FakeRedis", names: Names, words: Words) -> list[Any]:
    """Twin of `place.lua`."""
    node, own, limit, kept, *dead = words
    counts = redis.hash(names[0])
    for name in dead:
        counts.pop(name, None)
    mine = max(int(own), int(counts.get(node, 0)))
    others = {name: int(count) for name, count in counts.items() if name != node}
    if mine + sum(others.values()) + 1 > int(limit):
        if not counts:
            redis.remove(names[0])
        return [0, *others]
    counts[node] = b"%d" % (mine + 1)
    redis.expire(names[0], int(kept))
    return [1]


def announce(redis: "FakeRedis", names: Names, words: Words) -> int:
    """Twin of `announce.lua`."""
    channel, message, number, whole, kept, count, *symbols = words
    if whole == b"1":
        redis.remove(names[0])
    elif int((redis.live(names[0]) or {}).get(b"", -1)) != int(number) - 1:
        return 0
    stored = redis.hash(names[0])
    for symbol in symbols[: int(count)]:
        stored[symbol] = b""
    for symbol in symbols[int(count) :]:
        stored.pop(symbol, None)
    stored[b""] = number
    redis.expire(names[0], int(kept))
    redis.publish(channel.decode(), message)
    return 1


def beat(redis: "FakeRedis", names: Names, words: Words) -> list[Any]:
    """Twin of `beat.lua`."""
    node, number, forgotten = words
    now = redis.micros // 1000
    seen, numbers = redis.hash(names[0]), redis.hash(names[1])
    told: list[Any] = [int(node in seen)]
    seen[node], numbers[node] = b"%d" % now, number
    for name in [name for name, at in seen.items() if int(at) < now - int(forgotten)]:
        del seen[name]
        numbers.pop(name, None)
    for name, at in sorted(seen.items(), key=lambda each: (int(each[1]), each[0])):
        told += name, numbers.get(name, b"0"), at, abs(now - int(at))
    return told


def publish(redis: "FakeRedis", names: Names, words: Words) -> list[Any]:
    """Twin of `publish.lua`."""
    now = max(redis.micros, int(words[0]) + 1)
    replies, start = [], 2
    for at in range(0, len(names), 5):
        count = int(words[start])
        listed = words[start + 1 : start + 1 + 2 * count]
        start += 1 + 2 * count
        replies.append(_publish(redis, names[at : at + 5], now, words[1], listed))
    return replies


def _publish(redis: "FakeRedis", names: Names, now: int, term: bytes, listed: Words) -> list[Any]:
    values, shard, newest, channel, shut = names
    if term and redis.live(shut) != term:
        return []
    previous = int(redis.live(shard) or 0)
    first = max(now, previous + 1, int(redis.live(newest) or 0) + 1)
    stored, frames, late = {}, [], []
    known = redis.live(values) or {}
    for number, (name, frame) in enumerate(zip(listed[::2], listed[1::2], strict=True), 1):
        if name in known and frame[6:14] < known[name][14:22]:
            late.append(number)
            continue
        frames.append(frame)
        if name:
            stored[name] = CURSOR.pack(first + len(frames) - 1) + frame
    if stored:
        redis.hash(values).update(stored)
    last = b"%d" % (first + len(frames) - 1)
    if frames:
        redis.store(shard, last)
        redis.store(newest, last)
        redis.publish(channel, HEAD.pack(1, first, previous, len(frames)) + b"".join(frames))
    return [last, *late]


def restore(redis: "FakeRedis", names: Names, words: Words) -> int:
    """Twin of `restore.lua`."""
    values, shard, newest, channel = names
    stored = {}
    for name, value in zip(words[1::2], words[2::2], strict=True):
        old = (redis.live(values) or {}).get(name)
        if old is None or (old[14:22] <= value[14:22] and old[:8] < value[:8]):
            stored[name] = value
    if not stored:
        return 0
    redis.hash(values).update(stored)
    for key in (shard, newest):
        if int(redis.live(key) or 0) < int(words[0]):
            redis.store(key, words[0])
    cursor = int(redis.live(shard) or 0)
    redis.publish(channel, HEAD.pack(1, cursor + 1, cursor, 0))
    return len(stored)


SCRIPTS: dict[str, Twin] = {
    TAKE.text: take,
    FENCE.text: fence,
    RELEASE.text: release,
    PULSE.text: pulse,
    connection_limits.SCRIPT.text: place,
    interest_gossip.SCRIPT.text: announce,
    membership.SCRIPT.text: beat,
    PUBLISH.text: publish,
    RESTORE.text: restore,
}
