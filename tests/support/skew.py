"""A server whose clock is wrong: the same program, in a Python whose wall clock is off."""

CODE = """
import time
right = time.time_ns
time.time_ns = lambda: right() + round({seconds} * 1e9)
from marketstream.cli import main
main()
"""


def skewed(seconds: float) -> tuple[str, ...]:
    """What Python runs instead of the server, as `running_server(program=...)` takes it.

    Args:
        seconds: By how much its clock is ahead.
    """
    return "-c", CODE.format(seconds=seconds)
