"""What to say to the server when what is wanted and what it has confirmed differ.

Pure: two maps in, calls out. Order counts: what is wanted first is asked for first, and leaving comes
before joining, so that a plan's limit has room.

Subscriptions to events belong to the user and outlive connections, so what is held is mostly what is wanted
already; what is held and not wanted here may be another program's, and is left alone.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from marketstream_sdk.event_model import EventFilter
from marketstream_sdk.model import Mode

PART = 500
"""Symbols that one call names at most."""

SLOWEST, FASTEST = 0.01, 1_000_000.0


@dataclass(frozen=True, slots=True)
class Terms:
    """How a symbol is wanted.

    Attributes:
        mode: `latest` or `every`.
        max_rate: Updates a second at most; 0 for no limit.
    """

    mode: Mode = "latest"
    max_rate: float = 0

    def __post_init__(self) -> None:
        if self.mode not in {"latest", "every"}:
            raise ValueError(f"mode must be 'latest' or 'every', not {self.mode!r}")
        if self.max_rate != 0 and not SLOWEST <= self.max_rate <= FASTEST:
            raise ValueError(f"max_rate must be 0 (no limit) or {SLOWEST} to {FASTEST:g}")

    def joined(self, other: "Terms") -> "Terms":
        """Terms under which both get what they want."""
        mode: Mode = "every" if "every" in {self.mode, other.mode} else "latest"
        unlimited = not self.max_rate or not other.max_rate
        return Terms(mode, 0 if unlimited else max(self.max_rate, other.max_rate))


@dataclass(frozen=True, slots=True)
class Call:
    """A call to make.

    Attributes:
        event: Its name.
        symbols: The symbols it names.
        terms: How they are wanted; None for `unsubscribe`.
    """

    event: Literal["subscribe", "unsubscribe"]
    symbols: tuple[str, ...]
    terms: Terms | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """What is sent with it."""
        named: dict[str, Any] = {"symbols": list(self.symbols)}
        if self.terms is None:
            return named
        return named | {"mode": self.terms.mode, "maxRate": self.terms.max_rate}


def reconcile(wanted: Mapping[str, Terms], confirmed: Mapping[str, Terms], part: int = PART) -> list[Call]:
    """Return the calls that make the server confirm what is wanted, in order.

    Args:
        wanted: Symbols and how they are wanted, in the order in which they came to be wanted.
        confirmed: What the server has confirmed on this connection.
        part: Symbols that one call names at most.
    """
    leaving = [symbol for symbol in confirmed if symbol not in wanted]
    joining: dict[Terms, list[str]] = {}
    for symbol, terms in wanted.items():
        if confirmed.get(symbol) != terms:
            joining.setdefault(terms, []).append(symbol)
    calls = [Call("unsubscribe", names) for names in _parts(leaving, part)]
    for terms, symbols in joining.items():
        calls += [Call("subscribe", names, terms) for names in _parts(symbols, part)]
    return calls


def joined(terms: Iterable[tuple[str, Terms]]) -> dict[str, Terms]:
    """Return what several consumers want together, in the order in which symbols are first named."""
    wanted: dict[str, Terms] = {}
    for symbol, each in terms:
        wanted[symbol] = each.joined(wanted[symbol]) if symbol in wanted else each
    return wanted


def _parts(symbols: Sequence[str], part: int) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(symbols), part):
        yield tuple(symbols[start : start + part])


@dataclass(frozen=True, slots=True)
class EventCall:
    """A call to make.

    Attributes:
        event: Its name.
        name: The subscription that it is about.
        filter: What that asks for; None for `unsubscribe_events`.
    """

    event: Literal["subscribe_events", "unsubscribe_events"]
    name: str
    filter: EventFilter | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """What is sent with it."""
        named: dict[str, Any] = {"name": self.name}
        return named if self.filter is None else named | {"filter": self.filter.payload}


def reconcile_events(
    wanted: Mapping[str, EventFilter],
    held: Mapping[str, EventFilter | None],
    left: Collection[str] = (),
) -> list[EventCall]:
    """Return the calls that make the server hold what is wanted; leaving first, so that there is room.

    Args:
        wanted: Subscriptions by name, in the order in which they came to be wanted.
        held: What the server holds as far as is known; None stands for a filter that makes no sense here.
        left: Names that were given up here and not told yet, whoever made them.
    """
    leaving = [EventCall("unsubscribe_events", name) for name in left if name not in wanted]
    joining = [
        EventCall("subscribe_events", name, filter_)
        for name, filter_ in wanted.items()
        if held.get(name) != filter_
    ]
    return leaving + joining
