"""Run the market in the one process that holds the lease.

It begins where the last one ended: what that one published last says which times must not go back and which
symbols somebody may be waiting for.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

from marketstream.core.delivery.frame import Frame
from marketstream.engine.market.aggregator import Aggregator
from marketstream.engine.market.publisher import Publisher
from marketstream.engine.market.supervisor import Supervisor
from marketstream.ports import Feed


class Leader:
    """See the module.

    Args:
        aggregator: Where quotes meet.
        publisher: Where prices become frames.
        supervisor: Runs feeds.
    """

    def __init__(self, *, aggregator: Aggregator, publisher: Publisher, supervisor: Supervisor) -> None:
        self._aggregator = aggregator
        self._publisher = publisher
        self._supervisor = supervisor
        self._feeds: list[tuple[str, Callable[[], Feed]]] = []
        self._works: list[Callable[[], Coroutine[None, None, None]]] = []

    def add_feed(self, make: Callable[[], Feed]) -> None:
        """Have a feed run.

        Args:
            make: Makes it anew for each term: a feed that was cancelled is not used again.
        """
        self._feeds.append((self._supervisor.register(make()), make))

    def add_work(self, run: Callable[[], Coroutine[None, None, None]]) -> None:
        """Have something else done meanwhile, until it is cancelled."""
        self._works.append(run)

    async def serve(self, last_values: Sequence[Frame]) -> None:
        """Run the market until cancelled.

        Args:
            last_values: The newest frame of every key and tenant.
        """
        self._publisher.restore(last_values)
        self._aggregator.restore(last_values)
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, make in self._feeds:
                    tasks.create_task(self._supervisor.run(make(), name))
                for work in self._works:
                    tasks.create_task(work())
                # A market stays open when its feeds have come to their end.
                await asyncio.Event().wait()
        finally:
            # Whose turn it is now knows better.
            self._publisher.restore(())
            self._aggregator.restore(())
            self._supervisor.stand_by()
