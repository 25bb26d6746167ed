"""What a client asks of a way to the server.

A transport makes connections; a connection lasts until its `lost` is done and is never mended: trying
again, and when, is the client's business. Transports know no consumer, and no state of the client.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from marketstream_sdk.errors import MarketDataError
from marketstream_sdk.event_model import EventFilter
from marketstream_sdk.model import MarketQuote
from marketstream_sdk.reconcile import EventCall, Terms
from marketstream_sdk.wire import Message

Receive = Callable[[Message], None]
"""Told of each message; never blocks, never raises."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What the server should be sending.

    Attributes:
        symbols: Symbols and how they are wanted, in the order of the asking.
        channels: Names of channels.
        events: Whether events of the user are to come.
    """

    symbols: Mapping[str, Terms] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    events: bool = False


class Connection(Protocol):
    """One connection from its beginning to its end.

    Attributes:
        lost: Done with the reason once nothing more will come.
    """

    lost: asyncio.Future[MarketDataError]

    @property
    def confirmed(self) -> tuple[str, ...]:
        """Return the symbols that the server has confirmed."""
        ...

    async def align(self, goal: Callable[[], Goal]) -> None:
        """Make the server send what is wanted; done when nothing is left to say of what is wanted then.

        What is not to be had is told as `Refused`, and the goal must not hold it from then on.

        Args:
            goal: Asked again before each step.

        Raises:
            MarketDataError: The connection is of no use any more.
        """
        ...

    async def renew(self, token: str) -> None:
        """Go on under another token, without a gap.

        Raises:
            MarketDataError: The server does not accept it; the connection stays as it is.
        """
        ...

    async def get_quote(self, symbol: str) -> MarketQuote:
        """Ask for one quote.

        Raises:
            RequestError: The server has none, does not give it, or does not answer.
            ConnectionLostError: No answer came.
        """
        ...

    async def event_subscriptions(self) -> dict[str, EventFilter | None]:
        """Return the subscriptions to events that the server holds for the user, by name.

        Returns:
            Their filters; None stands for one that makes no sense here.

        Raises:
            RequestError: The server does not say.
            ConnectionLostError: No answer came.
        """
        ...

    async def change_events(self, call: EventCall) -> None:
        """Have the server hold a subscription to events, or let one go, whether it had it or not.

        Raises:
            RequestError: It does not do that, or not now.
            ConnectionLostError: No answer came.
        """
        ...

    async def close(self) -> None:
        """End it and all it holds, whatever state it is in."""
        ...


class Transport(Protocol):
    """Makes connections.

    Attributes:
        name: How it is chosen.
        every: Whether it has mode `every`.
        channels: Whether it has channels.
    """

    name: str
    every: bool
    channels: bool

    async def connect(self, token: str, goal: Callable[[], Goal], receive: Receive) -> Connection:
        """Make a connection.

        Args:
            token: Who the client is.
            goal: What will be wanted first; only transports that must name it when they connect ask.
            receive: Told of each message, from before this returns until the connection is closed.

        Raises:
            AuthenticationError: The server does not accept the token.
            ConnectionLostError: It cannot be reached, or does not let anybody in now.
        """
        ...
