"""Check all connections once a second: heartbeat, token warning, closing.

One pass over all connections, no timer and no task for any of them. A pass costs a fraction of a
microsecond per connection, so ten thousand idle clients cost less than one percent of a core.
"""

import asyncio
from collections.abc import Callable

from marketstream.core.delivery import closing
from marketstream.engine import memory
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.node import Node
from marketstream.errors import TokenExpiredError
from marketstream.wire import messages

STEP = 1.0


class Heartbeat:
    """What a node does periodically.

    Args:
        node: Whose connections.
        expire: Ends what has been silent for too long, before the round is written to clients.
    """

    def __init__(self, *, node: Node, expire: Callable[[], None]) -> None:
        self._node = node
        self._expire = expire
        self._delivered = 0

    async def run(self) -> None:
        """Beats until cancelled."""
        while True:
            await asyncio.sleep(STEP)
            self.beat()

    def beat(self) -> None:
        """One round."""
        node = self._node
        now = node.clock.now()
        greeting = messages.heartbeat(node.clock.wall_ms())
        for connection in list(node.connections.values()):
            if connection.closed or self._closed_for_cause(connection, now):
                continue
            sink = connection.sink
            if now >= connection.keepalive_at:
                connection.keepalive_at = now + sink.keepalive_interval
                if sink.keepalive is not None:
                    node.hub.send_first(connection.outbox, "ping", sink.keepalive)
            if now >= connection.heartbeat_at:
                connection.heartbeat_at = now + node.delivery.heartbeat_interval
                if sink.listens:
                    node.hub.offer(connection.outbox, greeting)
            if now >= connection.expires_at - node.delivery.token_warning and not connection.warned:
                self._warn(connection, now)
        self._expire()
        node.fanout.release_delayed()
        node.settle()
        if node.unadmitted.ebbed() or node.waiting.ebbed():
            memory.release()
        node.stats.rate = node.stats.delivered - self._delivered
        self._delivered = node.stats.delivered

    def _closed_for_cause(self, connection: Connection, now: float) -> bool:
        node, limits = self._node, self._node.delivery
        if connection.session is None:
            if now - connection.opened_at < limits.connect_timeout:
                return False
            node.close(connection, closing.CONNECT_TIMEOUT)
        elif now >= connection.expires_at:
            farewell = messages.error(TokenExpiredError.code, closing.TOKEN_EXPIRED.text)
            node.close(connection, closing.TOKEN_EXPIRED, farewell)
        # Before idleness: one that polls is heard by what it reads, and to take nothing is the closer cause.
        elif self._takes_nothing(connection, now):
            node.close(connection, closing.SLOW_CONSUMER)
        elif connection.sink.listens and now - connection.heard_at >= limits.idle_timeout:
            node.close(connection, closing.IDLE)
        else:
            return False
        return True

    def _takes_nothing(self, connection: Connection, now: float) -> bool:
        if connection.blocked_since is None:
            return False
        backlog = connection.sink.backlog()
        if backlog < connection.blocked_bytes:
            # Slow, but not stuck: the client took some bytes since the last look.
            connection.blocked_since = now
            if connection.sink.keeps:
                # While it reads an answer it asks for none: this is how it is heard.
                connection.heard_at = now
        # It may also have grown: an answer is written behind what was said of it.
        connection.blocked_bytes = backlog
        return now - connection.blocked_since >= self._node.delivery.slow_timeout

    def _warn(self, connection: Connection, now: float) -> None:
        connection.warned = True
        expires_at_ms = self._node.clock.wall_ms() + round((connection.expires_at - now) * 1000)
        if connection.session is not None:
            expires_at_ms = connection.session.principal.expires_at_ms
        self._node.send(connection, messages.token_expiring(expires_at_ms))
