"""What a client that polls hears when its session ends."""

from marketstream.core.delivery.closing import IDLE
from marketstream.transports.socketio.polling import PollingSink
from tests.support.builders import Bench


def ends() -> tuple[PollingSink, list[str]]:
    """A sink, and where it notes that its session is over."""
    over: list[str] = []
    return PollingSink(lambda: over.append("over"), 25), over


async def test_a_session_with_nothing_left_to_say_is_over_at_once() -> None:
    """The next poll is refused instead of waiting for words that never come."""
    sink, over = ends()
    sink.close(IDLE)
    assert over == ["over"]


async def test_a_session_with_last_words_stays_for_the_poll_that_takes_them() -> None:
    bench = Bench()
    sink, over = ends()
    connection = bench.node.open("c1", "polling", sink)
    sink.write(b"42last")
    sink.close(IDLE)
    assert over == []
    assert await sink.poll(bench.node, connection, 60) == b"42last"
    assert over == ["over"]
