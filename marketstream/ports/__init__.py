"""What the engine asks of the outside: small protocols that state guarantees.

An implementation ends with `_: type[Port] = Implementation`, so that the type checker holds it to the
signature, and passes the contract suite of its port in `tests/contract`, which holds it to the rest.
"""

from marketstream.ports.clock import Clock
from marketstream.ports.delivery import Bus, ConnectionLimits, Relay, Verifier
from marketstream.ports.jobs import Claims
from marketstream.ports.market import Feed, LeaderForwarder, Lease, QuoteSink, Streaming, StreamStatus
from marketstream.ports.query import Cache, CacheEntry, Provider, ProviderQuota

__all__ = [
    "Bus",
    "Cache",
    "CacheEntry",
    "Claims",
    "Clock",
    "ConnectionLimits",
    "Feed",
    "LeaderForwarder",
    "Lease",
    "Provider",
    "ProviderQuota",
    "QuoteSink",
    "Relay",
    "StreamStatus",
    "Streaming",
    "Verifier",
]
