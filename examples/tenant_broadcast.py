"""Tells all clients of one tenant something, from a back end that serves nobody itself.

Usage: tenant_broadcast.py TENANT TEXT...    REDIS_URL names the Redis that the servers share (`serve --bus`).
"""
# ruff: noqa: INP001, T201 - an example stands alone and prints

import asyncio
import os
import sys

import socketio

REDIS = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
NAMESPACE = "/market-data"


async def broadcast(tenant: str, text: str) -> None:
    """Send the event `notice` to every connection of a tenant, at whichever gateway it is.

    Args:
        tenant: The claim `tenantId` of the tokens of those who shall hear it.
        text: What to say.
    """
    # `write_only`: it sends, and does not listen to what other processes send.
    servers = socketio.AsyncRedisManager(REDIS, write_only=True)
    await servers.emit("notice", {"text": text}, room=f"tenant:{tenant}", namespace=NAMESPACE)


async def main() -> None:
    """Read the command line."""
    if len(sys.argv) < 3:  # noqa: PLR2004 - a tenant and a word
        sys.exit("usage: tenant_broadcast.py TENANT TEXT...")
    tenant, text = sys.argv[1], " ".join(sys.argv[2:])
    await broadcast(tenant, text)
    print(f"told {tenant}: {text}")


if __name__ == "__main__":
    asyncio.run(main())
