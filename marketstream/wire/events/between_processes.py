"""Encode events on their way between processes.

A `Message` is an event with what is known of it. Within a process it is handed over as it is. To other
processes it travels as a line of JSON, [sentMs, bytes of the event, enriched, state], then the event as
clients get it, then the best price of its symbol, if there is one. What goes to clients is cut out, never
written again.

Nothing but `InvalidMessageError` is raised by what is read.
"""

from dataclasses import dataclass, field

from marketstream.core.events.event import Event, User
from marketstream.core.events.rule import Rule
from marketstream.errors import InvalidMessageError
from marketstream.wire.events import codec
from marketstream.wire.json import dumps, loads

_HEAD = 4
_BOTH = 2


@dataclass(frozen=True, slots=True)
class Market:
    """How the symbol of an event stood when it was taken.

    Attributes:
        price: The best price, encoded, such as everybody may see it who gets the event; None without one.
        state: live, stale, delayed or closed; None when it is not known.
    """

    price: bytes | None
    state: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """An event on its way to every process.

    Attributes:
        event: The event.
        body: The same, encoded for clients.
        sent_ms: Epoch milliseconds at which it was taken, by the clock of the process that took it.
        market: How its symbol stood; None where the rule of the event does not ask for it.
        rule: The rule that it falls under, where this process has found it already. It does not travel: each
            process goes by its own rules.
    """

    event: Event
    body: bytes
    sent_ms: int
    market: Market | None = None
    rule: Rule | None = field(default=None, compare=False)


def render_message(message: Message) -> bytes:
    """Return a message as bytes."""
    body, market = message.body, message.market
    head = dumps([message.sent_ms, len(body), market is not None, market.state if market else None])
    return b"%b\n%b%b" % (head, body, (market.price if market else None) or b"")


def parse_message(data: bytes) -> Message:
    """Read what `render_message` wrote.

    Raises:
        InvalidMessageError: It is none.
    """
    line, _, rest = data.partition(b"\n")
    head = loads(line)
    if not (isinstance(head, list) and len(head) == _HEAD):
        raise InvalidMessageError("an event on its way begins with four values")
    sent_ms, size, enriched, state = head
    if not (type(sent_ms) is int and type(size) is int and 0 <= size <= len(rest)):
        raise InvalidMessageError("an event on its way says when it was sent, and how long it is")
    if not (isinstance(enriched, bool) and (state is None or isinstance(state, str))):
        raise InvalidMessageError("an event on its way says how its symbol stands")
    body, price = rest[:size], rest[size:]
    if price:
        # It is spliced into what clients get: it must be whole.
        loads(price)
    # By the clock of who sent it: no other clock may find its time impossible.
    event = codec.parse_event(loads(body), sent_ms, _nameless)
    return Message(event, body, sent_ms, Market(price or None, state) if enriched else None)


def render_user(user: User) -> bytes:
    """Return a user whose subscriptions changed."""
    return dumps(user)


def parse_user(message: bytes) -> User:
    """Read what `render_user` wrote.

    Raises:
        InvalidMessageError: It is none.
    """
    value = loads(message)
    parts = value if isinstance(value, list) else []
    if not (len(parts) == _BOTH and all(isinstance(part, str) for part in parts)):
        raise InvalidMessageError("a user has a tenant and a name")
    tenant, name = parts
    return tenant, name


def _nameless() -> str:
    raise InvalidMessageError("an event on its way has an id", path="id")
