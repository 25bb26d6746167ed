"""Send batches to the leader through Redis.

Who may write to Redis may publish; that is what its password is for. A request that is not answered is sent
again under the same number: the process that feeds may have died, and another takes over within seconds. So a
batch may be published twice, which prices and quotes do not mind.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Sequence
from itertools import count

from redis.asyncio.client import PubSub
from redis.exceptions import RedisClusterException, RedisError

from marketstream.bus.reply import reply
from marketstream.bus.url import build_client
from marketstream.errors import ConfigurationError, InvalidMessageError, UnavailableError
from marketstream.publish.channel import Channel, parse_rejected, render_body
from marketstream.publish.line import Line
from marketstream.wire import forwarded, keys
from marketstream.wire.json import loads

PATIENCE = 10.0
"""Seconds until a batch is given up."""

ANSWER_SECONDS = 3.0
"""Seconds until a request is sent again."""

PAUSE = 0.25
"""Seconds until what failed at once is tried again."""

_TAKEN = 200
_NOT_NOW = 503


class RelayedChannel:
    """See `Channel`.

    Args:
        url: Address of the Redis, as `serve --bus` takes it.
        patience: Seconds until a batch is given up.
        answer_seconds: Seconds until a request is sent again.

    Raises:
        ConfigurationError: The address cannot be one.
    """

    def __init__(
        self, url: str, *, patience: float = PATIENCE, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        if url.startswith("memory:"):
            text = "memory:// is within one process: nobody else can publish there"
            raise ConfigurationError("bus.url", text)
        self._client = build_client(url)
        self._patience = patience
        self._answer_seconds = answer_seconds
        self._reply = keys.reply_channel(f"publish-{secrets.token_hex(8)}")
        self._numbers = count(1)
        self._answers: PubSub | None = None
        self._met = False

    async def send(self, lines: Sequence[Line]) -> list[tuple[int, str]]:
        """See `Channel.send`."""
        number, give_up_at = next(self._numbers), time.monotonic() + self._patience
        request = forwarded.request(self._reply, number, render_body(lines))
        while True:
            answer, reason = await self._try(request, number, give_up_at)
            if answer is not None and answer.status != _NOT_NOW:
                break
            if time.monotonic() >= give_up_at:
                raise UnavailableError(reason)
            await asyncio.sleep(PAUSE)
        if answer.status != _TAKEN:
            raise UnavailableError(f"the server answered with status {answer.status}: {_said(answer.body)}")
        return parse_rejected(answer.body, len(lines))

    async def close(self) -> None:
        """See `Channel.close`."""
        await self._hang_up()
        await self._client.aclose()

    async def _try(
        self, request: bytes, number: int, give_up_at: float
    ) -> tuple[forwarded.Answer | None, str]:
        """Return the answer, and what to say if there is none.

        Raises:
            UnavailableError: There is no Redis, and was none before: it is not worth trying again.
        """
        try:
            until = min(time.monotonic() + self._answer_seconds, give_up_at)
            answer = await reply(self._ask(request, number, until))
        except (RedisError, RedisClusterException, OSError) as error:
            await self._hang_up()
            reason = f"cannot publish through Redis: {_reason(error)}"
            if not self._met:
                raise UnavailableError(reason) from error
            return None, reason
        return answer, "no server on this bus takes publications"

    async def _ask(self, request: bytes, number: int, until: float) -> forwarded.Answer | None:
        """Send a request and wait for its answer; None when there was none.

        Raises:
            RedisError: Redis is lost.
        """
        answers = await self._listen()
        await self._client.publish(keys.FORWARD, request)
        while (left := until - time.monotonic()) > 0:
            message = await answers.get_message(timeout=left)
            if message is None or message["type"] != "message":
                continue
            try:
                answer = forwarded.parse_answer(message["data"])
            except InvalidMessageError as error:
                raise UnavailableError("the answer is not that of a marketstream server") from error
            # Others are late answers to what was sent again.
            if answer.number == number:
                return answer
        return None

    async def _listen(self) -> PubSub:
        """Return the subscription to answers, confirmed: an answer to what is sent from now on is heard.

        Raises:
            RedisError: There is none.
        """
        if self._answers is None:
            # A cluster's subscription does not look for its nodes by itself, as commands do.
            await self._client.initialize()
            self._answers = self._client.pubsub()
            await self._answers.subscribe(self._reply)
            if await self._answers.get_message(timeout=self._answer_seconds) is None:
                raise RedisError("it does not answer")
            self._met = True
        return self._answers

    async def _hang_up(self) -> None:
        if self._answers is not None:
            await self._answers.aclose()  # type: ignore[no-untyped-call]  # redis-py's types are not complete
            self._answers = None


def _reason(error: Exception) -> str:
    """Return what went wrong; asyncio repeats the address where the system has a word."""
    cause = error.__context__
    if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
        return str(error).replace(str(cause.strerror), os.strerror(cause.errno))
    return str(error)


def _said(body: bytes) -> str:
    """Return the text of an error that a server answered with."""
    try:
        return str(loads(body)["error"]["message"])
    except (InvalidMessageError, LookupError, TypeError):
        return "it does not say why"


_: type[Channel] = RelayedChannel
