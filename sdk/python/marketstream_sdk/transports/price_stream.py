"""How a stream of prices is asked for over HTTP, and what it means when there is none."""

from collections.abc import Collection, Mapping
from urllib.parse import quote

import aiohttp

from marketstream_sdk.errors import SubscriptionError
from marketstream_sdk.reconcile import Terms
from marketstream_sdk.transports.http import NOT_TO_BE_HAD, read_body, read_error, read_obstacle
from marketstream_sdk.wire import Refused, parse_refused

STREAM = "/market-data/stream"

_UNQUOTED = "/,:=@"


def stream_path(wanted: Mapping[str, Terms]) -> str:
    """Path and query of a stream of these symbols; the fastest of their rates is that of all."""
    query = "symbols=" + quote(",".join(wanted), safe=_UNQUOTED)
    rates = {terms.max_rate for terms in wanted.values()}
    if 0 not in rates:
        query += f"&maxRate={max(rates)}"
    return f"{STREAM}?{query}"


async def read_refused(
    response: aiohttp.ClientResponse, wanted: Collection[str], confirmed: Collection[str]
) -> Refused:
    """Return which symbols are not to be had, by an answer that is no stream.

    Args:
        response: The answer; it is read to its end.
        wanted: What was asked for.
        confirmed: What the stream before this one brings.

    Raises:
        MarketDataError: It is not the symbols' fault.
    """
    if response.status not in NOT_TO_BE_HAD:
        raise await read_obstacle(response)
    async with response:
        _, text = read_error(response, await read_body(response))
    told = [error for error in parse_refused(text.split("; ")) if error.symbol in wanted]
    # A server that names none of them means the whole question: what is new in it, for it took the rest.
    new = [symbol for symbol in wanted if symbol not in confirmed] or wanted
    return Refused(tuple(told or (SubscriptionError(symbol, text) for symbol in new)))
