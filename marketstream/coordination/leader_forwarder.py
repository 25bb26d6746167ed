"""Forward publications to the leader and return its answer.

A process that holds the lease judges for itself and for the others. One that does not asks and waits a few
seconds; nobody who answers is an error that says: try again. Where no lease is held at all, best prices are
published from here.
"""

import asyncio
from collections import deque
from itertools import count

import structlog
from redis.exceptions import RedisError

from marketstream.bus.redis import RedisBus
from marketstream.engine.market.publication_handler import PublicationHandler
from marketstream.errors import InvalidMessageError, MarketstreamError, UnavailableError
from marketstream.ports import LeaderForwarder, Lease
from marketstream.wire import forwarded, keys
from marketstream.wire.forwarded import Answer, Request
from marketstream.wire.json import dumps, loads

log = structlog.get_logger(__name__)

PATIENCE = 3.0
"""Seconds that an answer may take."""

LOOK = 0.25
"""Seconds between two looks whether it is this process that feeds by now, while an answer is awaited."""

STEP = 0.02
"""Seconds between two attempts to be heard."""

MAX_ASKED = 1_000
"""Publications of other processes that wait to be judged."""

MAX_ASKED_BYTES = 32 * 1024 * 1024
"""Bytes that they may have."""

OK = 200


class RedisLeaderForwarder:
    """See the module and `ports.LeaderForwarder`.

    Args:
        bus: Requests and answers travel beside its frames.
        lease: Whether this process judges.
        handler: Judges publications.
    """

    def __init__(self, *, bus: RedisBus, lease: Lease, handler: PublicationHandler) -> None:
        self._bus = bus
        self._lease = lease
        self._handler = handler
        self._reply = keys.reply_channel(bus.node)
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._asked: deque[Request] = deque()
        self._asked_bytes = 0
        self._work = asyncio.Event()
        bus.subscribe(self._reply, self._answered)

    async def submit(self, body: bytes) -> bytes:
        """See `ports.LeaderForwarder.submit`."""
        if self._lease.held:
            return await self._handler.take(body)
        number = next(self._numbers)
        answered = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(PATIENCE):
                while not await self._ask(number, body):
                    if not await self._is_led():
                        return await self._handler.take_prices(body)
                    # Somebody is about to judge: it has the lease and reads what was published before.
                    await asyncio.sleep(STEP)
                    if self._lease.held:
                        return await self._handler.take(body)
                while not answered.done():
                    await asyncio.wait([answered], timeout=LOOK)
                    if not answered.done() and self._lease.held:
                        # Nobody may have heard it: in a cluster that cannot be told.
                        return await self._handler.take(body)
                return _taken(answered.result())
        except (TimeoutError, RedisError, OSError) as error:
            raise UnavailableError("the process that feeds the market does not answer") from error
        finally:
            del self._waiting[number]

    async def judge(self) -> None:
        """Judge for other processes until cancelled; to be run while the lease is held.

        An answer is sent when what was taken is in Redis: who was told so may forget it.
        """
        self._asked.clear()
        self._asked_bytes = 0
        self._bus.subscribe(keys.FORWARD, self._receive)
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                asked = list(self._asked)
                self._asked.clear()
                self._asked_bytes = 0
                answers = [await self._judged(each) for each in asked]
                await self._bus.flushed()
                for request, status, body in answers:
                    self._bus.sender.send(request.reply, forwarded.answer(request.number, status, body))
        finally:
            self._bus.unsubscribe(keys.FORWARD)

    async def _ask(self, number: int, body: bytes) -> bool:
        """Send a request; False when certainly nobody heard it."""
        request = forwarded.request(self._reply, number, body)
        (received,) = await self._bus.client.ask([("PUBLISH", keys.FORWARD, request)])
        # A node of a cluster counts its own listeners only.
        return bool(received) or (self._bus.client.sharded and await self._is_led())

    async def _is_led(self) -> bool:
        """Return whether a process feeds the market, or will in a moment."""
        (held,) = await self._bus.client.ask([("EXISTS", keys.LEASE)])
        return bool(held)

    def _receive(self, data: bytes) -> None:
        try:
            request = forwarded.parse_request(data)
        except InvalidMessageError as error:
            log.warning("bus_message_refused", error=str(error))
            return
        if len(self._asked) == MAX_ASKED or self._asked_bytes + len(data) > MAX_ASKED_BYTES:
            # Who asked gets no answer, and asks again.
            log.warning("publication_lost", waiting=len(self._asked), bytes=self._asked_bytes)
            return
        self._asked_bytes += len(data)
        self._asked.append(request)
        self._work.set()

    async def _judged(self, request: Request) -> tuple[Request, int, bytes]:
        try:
            return request, OK, await self._handler.take(request.body)
        except MarketstreamError as error:
            return request, error.status, _refusal(error)
        except Exception as error:  # noqa: BLE001  # a fault at one publication must not end the feeding of the market
            log.error("publication_crashed", error=repr(error))  # noqa: TRY400  # one line
            return request, MarketstreamError.status, _refusal(MarketstreamError())

    def _answered(self, data: bytes) -> None:
        try:
            answer = forwarded.parse_answer(data)
        except InvalidMessageError as error:
            log.warning("bus_message_refused", error=str(error))
            return
        waiting = self._waiting.get(answer.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)


def _refusal(error: MarketstreamError) -> bytes:
    path = error.path if isinstance(error, InvalidMessageError) else ""
    return dumps({"error": {"message": str(error) if error.public else "internal error", "path": path}})


def _taken(answer: Answer) -> bytes:
    """Return the body of a good answer.

    Raises:
        InvalidMessageError: What the other process says of the publication.
        UnavailableError: It could not judge it.
    """
    if answer.status == OK:
        return answer.body
    said = loads(answer.body)["error"]
    if answer.status == InvalidMessageError.status:
        raise InvalidMessageError(said["message"], path=said.get("path", ""))
    raise UnavailableError("the process that feeds the market could not take it")


_: type[LeaderForwarder] = RedisLeaderForwarder
