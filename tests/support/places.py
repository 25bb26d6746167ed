"""Places that have to ask others first."""

import asyncio
from collections.abc import Awaitable

from marketstream.engine.delivery.connection_limits import LocalPlaces


class SlowPlaces(LocalPlaces):
    """Answers when it is told to, as one that has to ask others."""

    def __init__(self) -> None:
        super().__init__()
        self.release = asyncio.Event()

    def take(self, tenant: str, user: str, limit: int) -> Awaitable[None]:  # type: ignore[override]  # what the port allows
        """Takes a place, later."""
        return self._take(tenant, user, limit)

    async def _take(self, tenant: str, user: str, limit: int) -> None:
        await self.release.wait()
        super().take(tenant, user, limit)
