"""Keep the public keys of a token issuer fresh.

`find` never waits. A key that is not there may have been published a moment ago, so `find_soon` waits for
one more look at the source; but an unknown key id causes at most one look per cooldown, whoever asks, so
nobody can make this server hammer another. A look that fails or brings no usable key changes nothing.
Symmetric keys are never taken: a key that the world may read must not make signatures.
"""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import structlog

from marketstream.errors import ConfigurationError
from marketstream.ports import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp_retry import RetryClient

Key = tuple[str, str | None]
"""Algorithm and key id: a key answers for one algorithm, whatever a token says of itself."""

_MAX_BYTES = 1024 * 1024
_FETCH_SECONDS = 5.0
_LONGEST_RETRY_AFTER = 2.0
_PATIENCE_SECONDS = 10.0

log = structlog.get_logger()


def parse_keys(document: object, algorithms: frozenset[str]) -> dict[Key, tuple[dict[str, Any], jwt.PyJWK]]:
    """Return the usable signature keys of a JWKS document, by algorithm and key id.

    Args:
        document: Decoded JSON, as the source gave it: {"keys": [{kty, kid?, alg?, use?, ...}]}.
        algorithms: The asymmetric algorithms that may be used.

    Returns:
        For each key its JWK and the key made of it. Keys that cannot be used here are left out, as
        RFC 7517 section 5 asks.

    Raises:
        ValueError: The document is no JWKS, or no key in it can be used.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is not a JSON object with a list of keys")  # noqa: TRY004 - the callers know one fault
    keys: dict[Key, tuple[dict[str, Any], jwt.PyJWK]] = {}
    for jwk in listed:
        key = _usable(jwk, algorithms)
        if key is not None:
            keys[key.algorithm_name, key.key_id] = (jwk, key)
    if not keys:
        raise ValueError(f"it holds no key for {', '.join(sorted(algorithms))}")
    return keys


def _usable(jwk: object, algorithms: frozenset[str]) -> jwt.PyJWK | None:
    if not isinstance(jwk, dict) or jwk.get("kty") == "oct" or jwk.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK(jwk)
    except Exception:  # noqa: BLE001 - written by others: whatever is wrong with it, the keys beside it are good
        return None
    if key.algorithm_name not in algorithms or not isinstance(key.key_id, str | None):
        return None
    return key


class KeySet:
    """The keys of one source, by algorithm and key id."""

    def __init__(
        self,
        *,
        source: str,
        algorithms: frozenset[str],
        clock: Clock,
        changed: "Callable[[], None]",
        refresh: float = 600,
        cooldown: float = 30,
    ) -> None:
        """Read a file at once; a URL is first read by `run`.

        Args:
            source: Path of a file, or an http(s) URL.
            algorithms: The asymmetric algorithms that may be used.
            clock: Where the time for the cooldown comes from.
            changed: Called when keys came or went.
            refresh: Seconds between looks when nobody asks.
            cooldown: Seconds between looks that an unknown key id, or a failed look, can cause.

        Raises:
            ConfigurationError: The file cannot be read or holds no usable key.
        """
        self._source = source
        self._algorithms = algorithms
        self._clock = clock
        self._changed = changed
        self._refresh = refresh
        self._cooldown = cooldown
        self._keys: dict[Key, tuple[dict[str, Any], jwt.PyJWK]] = {}
        self._looked_at = float("-inf")
        self._looking = False
        self._wanted = asyncio.Event()
        self._seen = asyncio.Event()
        if not self._is_url:
            try:
                self._keys = parse_keys(json.loads(Path(source).read_bytes()), algorithms)
            except (OSError, ValueError) as error:
                raise ConfigurationError("auth.jwks", f"cannot use {source}: {error}") from error
            self._looked_at = clock.now()

    @property
    def _is_url(self) -> bool:
        return self._source.startswith(("http://", "https://"))

    def find(self, algorithm: str, kid: str | None) -> jwt.PyJWK | None:
        """Return the key a token names; for a token that names none, the only key of its algorithm."""
        if kid is None:
            suited = [key for (name, _), (_, key) in self._keys.items() if name == algorithm]
            return suited[0] if len(suited) == 1 else None
        found = self._keys.get((algorithm, kid))
        return found[1] if found else None

    def may_look(self) -> bool:
        """Return whether another look at the source is under way or may be asked for."""
        return self._looking or self._clock.now() - self._looked_at >= self._cooldown

    async def find_soon(self, algorithm: str, kid: str | None) -> jwt.PyJWK | None:
        """Wait for a look at the source to end, at most some seconds, and find again."""
        if not self.may_look():
            return self.find(algorithm, kid)  # someone else's wait ended since the caller asked
        seen = self._seen
        if not self._looking:
            self._wanted.set()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await seen.wait()
        except TimeoutError:
            log.warning("jwks_look_timed_out", source=self._source)
        return self.find(algorithm, kid)

    async def run(self) -> None:
        """Keep the keys fresh until cancelled: every `refresh` seconds, and when someone asks."""
        # A server with a shared secret, and `marketstream token`, never need these.
        import aiohttp  # noqa: PLC0415 - as said
        from aiohttp_retry import RetryClient  # noqa: PLC0415 - as said

        from marketstream.retry import Retry  # noqa: PLC0415 - as said

        timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
        # An unknown key gets one look for a while: one bad moment of the issuer should not cost it that.
        policy = Retry(repeatable=True, longest=_LONGEST_RETRY_AFTER)
        async with RetryClient(retry_options=policy, timeout=timeout) as session:
            while True:
                self._wanted.clear()
                good = await self._look(session)
                try:
                    async with asyncio.timeout(self._refresh if good else self._cooldown):
                        await self._wanted.wait()
                except TimeoutError:
                    pass  # nobody asked: time for a look of our own

    async def _look(self, session: "RetryClient") -> bool:
        """Read the source once, and let go whoever waits for that; whether it could be used."""
        self._looked_at, self._looking = self._clock.now(), True
        try:
            self._take(parse_keys(json.loads(await self._read(session)), self._algorithms))
        except (OSError, ValueError, RecursionError) as error:  # a time-out is an OSError
            log.warning("jwks_look_failed", source=self._source, reason=str(error) or type(error).__name__)
            return False
        else:
            return True
        finally:
            self._looking = False
            seen, self._seen = self._seen, asyncio.Event()
            seen.set()

    async def _read(self, session: "RetryClient") -> bytes:
        if not self._is_url:
            return await asyncio.to_thread(Path(self._source).read_bytes)
        from aiohttp import ClientError  # noqa: PLC0415 - as above; `run` has loaded it by now

        try:
            async with session.get(self._source) as response:
                response.raise_for_status()
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > _MAX_BYTES:
                        raise ValueError("it is larger than 1 MiB")
        except ClientError as error:
            raise ConnectionError(f"it cannot be fetched: {error}") from error
        return bytes(body)

    def _take(self, keys: dict[Key, tuple[dict[str, Any], jwt.PyJWK]]) -> None:
        before = {name: jwk for name, (jwk, _) in self._keys.items()}
        if {name: jwk for name, (jwk, _) in keys.items()} != before:
            self._keys = keys
            self._changed()
            log.info("jwks_changed", source=self._source, keys=len(keys))
