"""Handle signals that arrive before the event loop does.

While it runs, `marketstream.reload` says what each of them does.
"""

import signal


def bridge_start() -> None:
    """Let no signal kill a server that is not up yet: one that asks it to end ends it with 0."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        # Not SIG_IGN, which programs that are started from here would inherit.
        signal.signal(number, lambda _number, _frame: None)


def bridge_end() -> None:
    """Let no signal spoil the exit code of a server that has drained."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def _end(_number: int, _frame: object) -> None:
    raise SystemExit(0)
