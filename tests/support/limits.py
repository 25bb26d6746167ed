"""Connection limits that have to ask others first."""

import asyncio
from collections.abc import Awaitable

from marketstream.engine.delivery.connection_limits import LocalConnectionLimits


class SlowLimits(LocalConnectionLimits):
    """Answers when it is told to, as one that has to ask others."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    def acquire(self, tenant: str, user: str, limit: int) -> Awaitable[None]:  # type: ignore[override]  # what the port allows
        """Acquire one connection, later."""
        return self._acquire(tenant, user, limit)

    async def _acquire(self, tenant: str, user: str, limit: int) -> None:
        await self.asked.wait()
        super().acquire(tenant, user, limit)
