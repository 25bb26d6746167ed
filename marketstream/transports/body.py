"""Bound the bodies of requests: size, time, encoding."""

import asyncio
from collections.abc import Iterable

from aiohttp import hdrs, web

from marketstream.errors import PayloadTooLargeError

LINGER = 2.0
"""Seconds in which the rest of a request is read that was answered before it was complete."""

LINGER_BYTES = 1024 * 1024
"""Bytes that are read of it; closing with unread bytes would take the answer from the client."""


def refuse(request: web.Request) -> None:
    """Refuse a body that would have to be unpacked, whatever the route.

    A kilobyte may hold a megabyte, and who unpacks it does nothing else meanwhile. No client of ours packs.

    Raises:
        web.HTTPUnsupportedMediaType: It has a content coding.
        web.HTTPNotImplemented: It has a transfer coding beside `chunked`.
    """
    if _codings(request.headers.getall(hdrs.CONTENT_ENCODING, ())) - {"identity"}:
        text = "compressed request bodies are not taken"
        raise web.HTTPUnsupportedMediaType(text=text, headers={hdrs.ACCEPT_ENCODING: "identity"})
    if _codings(request.headers.getall(hdrs.TRANSFER_ENCODING, ())) - {"chunked"}:
        raise web.HTTPNotImplemented(text="no transfer coding but chunked is taken")


async def read(request: web.Request, limit: int | None = None) -> bytes:
    """Return the whole body of a request.

    Between two pieces of it the others have their turn: a body of tiny chunks costs more time than its bytes.

    Args:
        request: The request.
        limit: Bytes that it may have; None for what the application takes at most.

    Raises:
        PayloadTooLargeError: It has more.
    """
    content, most = request.content, request.client_max_size if limit is None else limit
    if (request.content_length or 0) > most:
        raise PayloadTooLargeError(f"a body may have {most} bytes here")
    whole = bytearray()
    while not content.at_eof():
        whole += await content.readany()
        if len(whole) > most:
            raise PayloadTooLargeError(f"a body may have {most} bytes here")
        if not content.is_eof():
            await asyncio.sleep(0)
    return bytes(whole)


def limit_time(request: web.Request, seconds: float) -> asyncio.TimerHandle:
    """Have whoever reads a body that is not complete in time hear of it.

    Returns:
        The timer, to be cancelled once the request is answered.
    """
    return asyncio.get_running_loop().call_later(seconds, _expire, request, seconds)


async def settle(request: web.Request, response: web.StreamResponse) -> None:
    """Send an answer to a request that is not complete yet, and reads some of what is left of it."""
    content = request.content
    if content.exception() is not None or (request.content_length or 0) > LINGER_BYTES:
        response.force_close()
    left = LINGER_BYTES
    try:
        await response.prepare(request)
        await response.write_eof()
        async with asyncio.timeout(LINGER):
            while left > 0 and not content.at_eof():
                left -= len(await content.readany())
                await asyncio.sleep(0)
    except (TimeoutError, ConnectionError, web.HTTPException):
        # Too slow, gone, or broken: aiohttp closes a connection whose request is not complete.
        return


def _expire(request: web.Request, seconds: float) -> None:
    if not request.content.is_eof():
        request.content.set_exception(web.HTTPRequestTimeout(text=f"the body took longer than {seconds:g} s"))


def _codings(values: Iterable[str]) -> set[str]:
    return {part.strip().lower() for value in values for part in value.split(",")} - {""}
