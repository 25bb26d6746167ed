"""Define what jobs expect of adapters: claims."""

from typing import Protocol


class Claims(Protocol):
    """Decides which process does a run of a job, so that one does it."""

    async def take(self, job: str, due_ms: int, ttl: float) -> bool:
        """Claim a run for this process.

        Args:
            job: Name of the job.
            due_ms: When the run is due, epoch milliseconds.
            ttl: Seconds for which nobody else can claim it.

        Returns:
            Whether it is this process's, also when that was asked before.

        Raises:
            BusError: Nobody can say; asking again does no harm.
        """
        ...
