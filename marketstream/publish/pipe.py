"""Publish everything that a pipe holds: the command `publish`.

A bad line costs itself and nothing else; what makes all further sending pointless ends it with one sentence.
"""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from marketstream.publish.channel import Channel
from marketstream.publish.line import read_batches


@dataclass(slots=True)
class Tally:
    """What became of the lines so far."""

    accepted: int = 0
    bad: int = 0


async def publish(channel: Channel, stdin: int, say: Callable[[str], None]) -> Tally:
    """Publish every line that can be read from a file descriptor until it ends.

    Args:
        channel: The way to the server; closed at the end.
        stdin: File descriptor to read.
        say: Takes one sentence for each bad line, and one for the whole, however it ends.

    Raises:
        MarketstreamError: Nothing more can be sent; the text says why, to a person.
    """
    tally = Tally()

    def reject(number: int, reason: str) -> None:
        tally.bad += 1
        say(f"line {number}: {reason}")

    try:
        async with aclosing(read_batches(stdin, reject)) as batches:
            async for batch in batches:
                ordered = sorted(batch, key=lambda line: not line.is_price)  # the server counts prices first
                rejected = await channel.send(ordered)
                for index, reason in rejected:
                    reject(ordered[index].number, reason)
                tally.accepted += len(ordered) - len(rejected)
    finally:
        await channel.close()
        say(f"{tally.accepted} published, {tally.bad} bad")
    return tally
