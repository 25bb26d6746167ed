"""The body of a POST: packets of a client that polls, read no further than they may be long."""

from aiohttp import web


async def read_packets(request: web.Request, limit: int) -> list[str] | None:
    """The Engine.IO packets in the body of a request.

    Args:
        request: The request.
        limit: Bytes the body may have.

    Returns:
        None when it has more. What is not UTF-8 in it is replaced: a call around that is answered.
    """
    if (request.content_length or 0) > limit:
        return None
    body = await request.content.read(limit + 1)
    while len(body) <= limit and not request.content.at_eof():
        body += await request.content.read(limit + 1 - len(body))
    return body.decode(errors="replace").split("\x1e") if len(body) <= limit else None
