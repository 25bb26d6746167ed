"""Read the POST body of a polling client, bounded."""

from aiohttp import web

from marketstream.errors import PayloadTooLargeError
from marketstream.transports import body


async def read_packets(request: web.Request, limit: int) -> list[str] | None:
    """Return the Engine.IO packets in the body of a request.

    Args:
        request: The request.
        limit: Bytes the body may have.

    Returns:
        None when it has more. What is not UTF-8 in it is replaced: a call around that is answered.
    """
    try:
        packets = await body.read(request, limit)
    except PayloadTooLargeError:
        return None
    return packets.decode(errors="replace").split("\x1e")
