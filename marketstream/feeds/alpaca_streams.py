"""Decide which streams an Alpaca connection should ask for next.

Plain state, told what happens and asked what follows: no socket, no clock. One request is under way at a
time. Its answer names all that is subscribed, and the next one leads from there to what is wanted by then, so
that whatever changes meanwhile costs nothing but a further request.
"""

from collections.abc import Mapping, Sequence

import structlog

from marketstream.wire.vendors.alpaca_request import Request, choose, next_request, shares

log = structlog.get_logger(__name__)

_SHOWN = 10


class Streams:
    """The streams of one connection.

    Args:
        source: Name for the log.
        channels: Channels to have each symbol on.
        room: Streams that fit, a symbol on two channels being two of them; None: any number.
        held: Symbols that the connection before this one had; they keep their places.

    Attributes:
        chosen: Symbols to have.
        left_out: Symbols that are wanted and did not fit.
        pending: The request under way.
    """

    def __init__(self, source: str, channels: Sequence[str], room: int | None, held: frozenset[str]) -> None:
        self.chosen = held
        self.left_out: frozenset[str] = frozenset()
        self.pending: Request | None = None
        self._source = source
        self._channels = channels
        self._room = room
        # None until it was told: to have nothing chosen because nothing is known would cost places.
        self._wanted: frozenset[str] | None = None
        self._declined: frozenset[str] = frozenset()
        self._confirmed: Mapping[str, frozenset[str]] = {}

    def __len__(self) -> int:
        """Streams that the vendor has confirmed."""
        return sum(map(len, self._confirmed.values()))

    @property
    def symbols(self) -> frozenset[str]:
        """Return the symbols that the vendor has confirmed, on any channel."""
        return frozenset().union(*self._confirmed.values())

    @property
    def lacking(self) -> frozenset[str]:
        """Return the symbols that somebody watches and that will not be had: left out, or declined."""
        return self.left_out | self._declined

    def want(self, symbols: frozenset[str]) -> None:
        """Note what somebody watches; what the vendor cannot have is left to other feeds."""
        self._wanted = shares(symbols)
        self._declined &= self._wanted
        self._choose()

    def confirm(self, streams: Mapping[str, frozenset[str]]) -> bool:
        """Note what is subscribed now, by channel.

        Returns:
            Whether all that was given back is gone; if not, the connection is not to be trusted.
        """
        request, self.pending = self.pending, None
        self._confirmed = streams
        if request is None:
            return True
        if request.action == "unsubscribe":
            return all(
                streams.get(name, frozenset()).isdisjoint(gone) for name, gone in request.streams.items()
            )
        missing = (
            frozenset(asked) - streams.get(name, frozenset()) for name, asked in request.streams.items()
        )
        declined = frozenset().union(*missing)
        if declined:
            # To ask again at once would be to ask for ever.
            self._declined |= declined
            self._tell("feed_symbols_declined", declined)
            self._choose()
        return True

    def refuse(self) -> bool:
        """Note that the request under way was too much, and changed nothing.

        Returns:
            Whether less of it will be asked for; if not, it was no request for more.
        """
        request = self.pending
        if request is None or request.action != "subscribe":
            return False
        # Half of it, until it fits: what an account may have is not always what was configured.
        self._room = len(self) + len(request) // 2
        self.pending = None
        self._choose()
        return True

    def next(self) -> Request | None:
        """Return the request to send, which is then under way.

        None while one is, or when all is as it should be.
        """
        if self.pending is not None or self._wanted is None:
            return None
        self.pending = next_request(self.chosen, self._confirmed, self._channels)
        return self.pending

    def _choose(self) -> None:
        wanted = (self._wanted or frozenset()) - self._declined
        room = None if self._room is None else self._room // len(self._channels)
        self.chosen = choose(wanted, self.symbols, self.chosen, room)
        left_out = wanted - self.chosen
        if left_out != self.left_out:
            self.left_out = left_out
            self._tell("feed_symbols_left_out", left_out)

    def _tell(self, event: str, symbols: frozenset[str]) -> None:
        shown = sorted(symbols)[:_SHOWN]
        write = log.warning if symbols else log.info
        write(event, source=self._source, room=self._room, count=len(symbols), symbols=shown)
