"""Count refusals of requests, and log some of them.

Whoever reaches the port can cause it, so the log gets a few lines of a kind and then one a minute, which says
how many there were in between.
"""

from collections import Counter
from typing import Final

import structlog

from marketstream.core.delivery.bucket import TokenBucket
from marketstream.engine.delivery.node import Node

log = structlog.get_logger(__name__)

ORIGIN: Final = "ORIGIN_NOT_ALLOWED"
HOST: Final = "HOST_NOT_ALLOWED"
VERSION: Final = "UNSUPPORTED_PROTOCOL_VERSION"

_EVENTS: Final = {ORIGIN: "origin_refused", HOST: "host_refused", VERSION: "protocol_version_refused"}
_BURST: Final = 5
_LINES_A_SECOND: Final = 1 / 60
_LONGEST: Final = 200
"""Characters of what a client sent that are logged."""


class Refusals:
    """Notes refusals.

    Args:
        node: Counts them, as refused handshakes.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lines = {code: TokenBucket(_BURST, _LINES_A_SECOND) for code in _EVENTS}
        self._untold: Counter[str] = Counter()

    def note(self, code: str, **details: str) -> None:
        """Count one.

        Args:
            code: One of the codes above.
            details: What was refused, for the log.
        """
        self._node.refuse(code)
        if self._lines[code].take(self._node.clock.now()):
            self._untold[code] += 1
            return
        shown = {name: value[:_LONGEST] for name, value in details.items()}
        log.warning(_EVENTS[code], **shown, untold=self._untold.pop(code, 0))
