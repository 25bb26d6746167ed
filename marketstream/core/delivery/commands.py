"""Define commands, replies and effects, whatever the dialect.

A dialect parses bytes into a command and renders a reply into bytes; nothing in between knows of either.
"""

from dataclasses import dataclass

from marketstream.core.delivery.entitlements import Mode
from marketstream.core.events.filter import Filter


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Watch symbols and listen to channels.

    Attributes:
        symbols: As the client wrote them.
        mode: `latest` or `every`.
        max_rate: Updates a second and symbol the client wants at most; 0 means no limit.
        channels: Channels to listen to; None when the client did not speak of channels.
    """

    symbols: tuple[str, ...]
    mode: Mode = "latest"
    max_rate: float = 0
    channels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Stop watching symbols and listening to channels."""

    symbols: tuple[str, ...]
    channels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ListSubscriptions:
    """Say what the connection watches."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Say that the server is there."""


@dataclass(frozen=True, slots=True)
class GetQuote:
    """Say once what a symbol costs."""

    symbol: str


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Go on with a newer token."""

    token: str


@dataclass(frozen=True, slots=True)
class SubscribeEvents:
    """Hear of some events from now on, over every connection of the user."""

    name: str
    filter: Filter


@dataclass(frozen=True, slots=True)
class UnsubscribeEvents:
    """Hear no more of the events that a name stands for."""

    name: str


@dataclass(frozen=True, slots=True)
class ListEventSubscriptions:
    """Say of which events the user hears."""


@dataclass(frozen=True, slots=True)
class JoinGroup:
    """Do a share of what a group of workers has to do, over this connection."""

    group: str


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    """Do so no more; what is in hand goes to others."""

    group: str


@dataclass(frozen=True, slots=True)
class AckEvent:
    """Say that an event which was given to this worker is done."""

    id: str


WorkCommand = JoinGroup | LeaveGroup | AckEvent
EventCommand = SubscribeEvents | UnsubscribeEvents | ListEventSubscriptions
Command = (
    Subscribe | Unsubscribe | ListSubscriptions | Ping | GetQuote | Authenticate | EventCommand | WorkCommand
)


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Answer to `Subscribe`: what is watched now of what was asked, and what was not possible."""

    symbols: tuple[str, ...]
    channels: tuple[str, ...] | None
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """Answer to `Unsubscribe`: what is certainly not watched any more."""

    symbols: tuple[str, ...]
    channels: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Subscription:
    """How one symbol is watched."""

    symbol: str
    mode: Mode
    max_rate: float


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """Answer to `ListSubscriptions`."""

    symbols: tuple[Subscription, ...]
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer to `Ping`, with the server's time in epoch milliseconds."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Quoted:
    """Answer to `GetQuote`: the quote's JSON, already encoded."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Authenticated:
    """Answer to `Authenticate`.

    Attributes:
        expires_at_ms: How long the connection may last now, epoch milliseconds.
        ended: What it may not have any more, a sentence each.
    """

    expires_at_ms: int
    ended: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventsSubscribed:
    """Answer to `SubscribeEvents`."""

    name: str
    filter: Filter


@dataclass(frozen=True, slots=True)
class EventsUnsubscribed:
    """Answer to `UnsubscribeEvents`, also where there was nothing of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class EventSubscriptions:
    """Answer to `ListEventSubscriptions`: filters by name."""

    held: tuple[tuple[str, Filter], ...]


@dataclass(frozen=True, slots=True)
class GroupJoined:
    """Answer to `JoinGroup`."""

    group: str


@dataclass(frozen=True, slots=True)
class GroupLeft:
    """Answer to `LeaveGroup`, also where the worker was no member."""

    group: str


@dataclass(frozen=True, slots=True)
class EventAcknowledged:
    """Answer to `AckEvent`, also where the worker has no such event in hand any more."""

    id: str


WorkReply = GroupJoined | GroupLeft | EventAcknowledged
EventReply = EventsSubscribed | EventsUnsubscribed | EventSubscriptions | WorkReply
Reply = Subscribed | Unsubscribed | Subscriptions | Pong | Quoted | Authenticated | EventReply


@dataclass(frozen=True, slots=True)
class Join:
    """Effect: start delivering a symbol like this.

    Attributes:
        subscription: How.
        since: Cursor up to which the client has seen it; nothing older follows.
    """

    subscription: Subscription
    since: int = 0


@dataclass(frozen=True, slots=True)
class Leave:
    """Effect: stop delivering a symbol."""

    symbol: str


@dataclass(frozen=True, slots=True)
class JoinChannel:
    """Effect: start delivering a channel."""

    channel: str


@dataclass(frozen=True, slots=True)
class LeaveChannel:
    """Effect: stop delivering a channel."""

    channel: str


@dataclass(frozen=True, slots=True)
class SendSnapshot:
    """Effect: send the current value of symbols that have been joined before.

    Attributes:
        symbols: The symbols.
        moved: Whether the client was shown them with another delay, and told states of there.
    """

    symbols: tuple[str, ...]
    moved: bool = False


Effect = Join | Leave | JoinChannel | LeaveChannel | SendSnapshot
