"""Name every key and channel in Redis.

What belongs to one shard carries the shard's number in braces, so that a cluster keeps it together. Every
process must agree on these names, so a change of one is a change of the protocol between them.
"""

import re
from hashlib import blake2b
from zlib import crc32

SHARDS = 16
"""Parts of the market that a process can listen to separately."""

RELAY = "socketio"
"""Channel of python-socketio's own messages; the name that its stock managers use."""

CURSOR = "marketstream:cursor"
"""The newest cursor of all, as a decimal number; a cluster has none."""

_SHARD = re.compile(r"marketstream:\{([0-9]+)\}:")

RECALL = "marketstream:recall"
"""A word that is there as long as Redis has not forgotten everything; a cluster has none."""

TRIAL = "marketstream:trial"
"""Written for a moment to see whether Redis takes writes again."""

FORWARD = "marketstream:intake"
"""Channel on which publications reach the process that aggregates."""

LEASE = "marketstream:{lease}:owner"
"""Who may feed the market at the moment; gone when it does not say so any more."""

TERM = "marketstream:{lease}:term"
"""Number of the newest term of office, rising from one owner of the lease to the next."""

INTEREST = "marketstream:demand"
"""Channel on which gateways tell which symbols are watched there."""

NODES_SEEN = "marketstream:{nodes}:seen"
"""Sorted set of nodes by the milliseconds at which each was last heard, by the server's clock."""

NODES_NUMBERS = "marketstream:{nodes}:numbers"
"""Hash of the number of each node's newest word on `DEMAND`."""

EVENTS = "marketstream:events"
"""Channel on which events reach every process."""

EVENT_NEWS = "marketstream:events:news"
"""Channel on which it is told whose subscriptions to events have changed."""

EVENT_WORK = "marketstream:events:work"
"""Channel on which whoever hands out the work of groups hears of their members."""

EVENT_TASKS = "marketstream:events:tasks"
"""Channel on which processes hear of what their members are given to do."""


def event_subscriptions(tenant: str, user: str) -> str:
    """Return the hash of the filters of a user by name."""
    return f"marketstream:events:of:{_digest(tenant, user)}"


def event_seen(tenant: str | None, ident: str) -> str:
    """Return the key that is there while an id of an event counts as known."""
    return f"marketstream:events:seen:{_digest(tenant or '', ident)}"


def provider_quota(provider: str) -> str:
    """Return the key of what was asked of a provider in this minute and on this day."""
    return f"marketstream:{{budget:{provider}}}"


def provider_quota_share(provider: str, name: str) -> str:
    """Return the same of a share of that.

    Names are of any length, and of people, so they are not written out.
    """
    return f"{provider_quota(provider)}:{blake2b(name.encode(), digest_size=12).hexdigest()}"


def known(symbol: str) -> str:
    """Return the cache key that says that a symbol exists: some provider has answered about it."""
    return f"known:{symbol}"


def claim(job: str, due_ms: int) -> str:
    """Name of the process that does the run of a job that is due at a moment."""
    return f"marketstream:{{job:{job}}}:{due_ms}"


def subject(key: str) -> str:
    """Return what a key is about: the symbol of a price or of its state, or the name of a channel."""
    return key.rpartition(" ")[2]


def shard_of(name: str, shards: int = SHARDS) -> int:
    """Return the shard of a subject: the same in every process and for ever."""
    return crc32(name.encode()) % shards


def frames_channel(shard: int) -> str:
    """Return the channel on which the frames of a shard travel."""
    return f"marketstream:{{{shard}}}:frames"


def last_values(shard: int) -> str:
    """Return the hash of the newest frame of each key and tenant of a shard."""
    return f"marketstream:{{{shard}}}:last"


def shard_cursor(shard: int) -> str:
    """Return the newest cursor of a shard, as a decimal number."""
    return f"marketstream:{{{shard}}}:cursor"


def fence(shard: int) -> str:
    """Return the term whose owner may publish to a shard, as a decimal number."""
    return f"marketstream:{{{shard}}}:fence"


def pulse(shard: int) -> str:
    """Return the term whose owner feeds a shard.

    The time that is left to it says when that was last noted.
    """
    return f"marketstream:{{{shard}}}:pulse"


def reply_channel(node: str) -> str:
    """Return the channel on which a process awaits answers."""
    return f"marketstream:reply:{node}"


def probe_channel(node: str, shard: int | None = None) -> str:
    """Return the channel on which a process listens for nobody but itself.

    With a shard, on the node that owns it.
    """
    return f"marketstream:canary:{node}" if shard is None else f"marketstream:{{{shard}}}:canary:{node}"


def is_pattern(channel: str) -> bool:
    """Return whether a name stands for all channels of a form; names of this server never do."""
    return any(sign in channel for sign in "*?[")


def channel_shard(channel: str) -> int | None:
    """Return the shard that a channel belongs to; None for an ordinary channel."""
    found = _SHARD.match(channel)
    return int(found[1]) if found else None


def dead_letters(stream: str) -> str:
    """Stream of the entries of a stream that nobody could use."""
    return f"{stream}.dead"


def node_symbols(node: str) -> str:
    """Return the key of what a node watches: a field for each symbol, and an unnamed one for the number."""
    return f"marketstream:{{{node}}}:symbols"


def user_connections(tenant: str, user: str) -> str:
    """Return the hash of how many connections of a user each node has.

    Named by a digest: users are called as they like, by whatever length and letters, or by their address.
    """
    return f"marketstream:places:{_digest(tenant, user)}"


def _digest(tenant: str, name: str) -> str:
    named = f"{len(tenant)} {tenant} {name}".encode("utf-8", "surrogatepass")
    return blake2b(named, digest_size=16).hexdigest()


def field(tenant: str | None, key: str) -> str:
    """Field of `last_values`; a key holds no unit separator, whatever a tenant is called."""
    return key if tenant is None else f"{key}\x1f{tenant}"


def quote(symbol: str) -> str:
    """Return the cache key of a quote."""
    return f"quote:{symbol}"


def historical(symbol: str, period: str, interval: str) -> str:
    """Return the cache key of candles."""
    return f"historical:{symbol}:{period}:{interval}"


def profile(symbol: str) -> str:
    """Return the cache key of a profile."""
    return f"profile:{symbol}"


def news(symbol: str, limit: int) -> str:
    """Return the cache key of news."""
    return f"news:{symbol}:{limit}"


def search(query: str, limit: int) -> str:
    """Return the cache key of a search; upper and lower case are the same."""
    return f"search:{query.lower()}:{limit}"


def market(name: str, kind: str | None = None) -> str:
    """Return the cache key of a view, such as `market:indices` or `market:movers:gainers`."""
    return f"market:{name}" if kind is None else f"market:{name}:{kind}"


def fallback(key: str) -> str:
    """Return where the value of a cached key stays when its time is over, for want of a better one."""
    return f"fallback:{key}"
