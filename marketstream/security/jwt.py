"""Verify a token and return its principal.

Promises that only the configured algorithms count, that each algorithm is checked with its own kind of key
(so a public key never becomes a shared secret), that every accepted token has an end, and that the texts of
its errors say no more than the caller knew. Time comes from the injected clock, never from the JWT library.
A token seen before costs one hash instead of one signature; its end is looked at every time.
"""

import hashlib
import re
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import jwt
from cachetools import LRUCache

from marketstream.core.delivery.entitlements import Plan, Principal
from marketstream.core.glob import compile_globs
from marketstream.errors import AuthFailedError, ConfigurationError, TokenExpiredError
from marketstream.ports import Clock, Verifier
from marketstream.security.jwks import KeySet

SHARED = frozenset({"HS256"})
PUBLIC = frozenset({"RS256", "ES256", "EdDSA"})
MIN_SECRET_BYTES = 32

_MAX_TOKEN = 8 * 1024
_REMEMBERED = 10_000  # tokens: a reconnect storm of as many clients costs no signature
_LATEST_SECONDS = 10**11  # year 5138: what lies beyond is milliseconds by mistake, or worse
# Times and required claims are checked here, against the injected clock.
_OPTIONS = {
    "enforce_minimum_key_length": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_sub": False,
    "verify_jti": False,
}


class TokenVerifier:
    """Checks tokens by a shared secret, by published keys, or by either.

    A JWKS file is read at once, a URL by `run`.

    Args:
        plans: Plans by the name that tokens use.
        default_plan: Name of the plan of a token that names none.
        clock: What the time is.
        secret: Shared secret of HS256, at least 32 bytes.
        jwks: Path or http(s) URL of the keys of RS256, ES256 and EdDSA.
        algorithms: The only algorithms that count; empty means all that the given keys can do.
        audience: What `aud` must be or hold; None: not looked at.
        issuer: What `iss` must be; None: not looked at.
        leeway: Seconds that this clock and the issuer's may differ.
        jwks_refresh: Seconds between looks at the JWKS.
        jwks_cooldown: Seconds between looks that an unknown key id can cause.

    Raises:
        ConfigurationError: The rules could never accept a token, or would accept too many.
    """

    def __init__(  # noqa: PLR0913 - keyword arguments, all with a name and most with a default
        self,
        *,
        plans: Mapping[str, Plan],
        default_plan: str,
        clock: Clock,
        secret: str | None = None,
        jwks: str | None = None,
        algorithms: Sequence[str] = (),
        audience: str | None = None,
        issuer: str | None = None,
        leeway: float = 0,
        jwks_refresh: float = 600,
        jwks_cooldown: float = 30,
    ) -> None:
        able = (SHARED if secret is not None else frozenset()) | (PUBLIC if jwks is not None else frozenset())
        self._allowed = _pinned(frozenset(algorithms), able)
        if default_plan not in plans:
            raise ConfigurationError("auth.default_plan", f"there is no plan named {default_plan}")
        self._secret = check_secret(secret or "") if self._allowed & SHARED else ""
        self._plans = plans
        self._default_plan = default_plan
        self._clock = clock
        self._audience = audience
        self._issuer = issuer
        self._leeway_ms = round(leeway * 1000)
        checked = {"verify_aud": audience is not None, "verify_iss": issuer is not None}
        self._options: Any = {**_OPTIONS, **checked}
        self._known: LRUCache[bytes, Principal] = LRUCache(_REMEMBERED)
        self._keys: KeySet | None = None
        if jwks is not None and self._allowed & PUBLIC:
            self._keys = KeySet(
                source=jwks,
                algorithms=self._allowed & PUBLIC,
                clock=clock,
                changed=self._known.clear,
                refresh=jwks_refresh,
                cooldown=jwks_cooldown,
            )

    def use_plans(self, plans: Mapping[str, Plan], default_plan: str) -> None:
        """Give tokens these plans from now on, also those that were seen before.

        Args:
            plans: Plans by the name that tokens use.
            default_plan: One of them, for tokens that name none.
        """
        self._plans = plans
        self._default_plan = default_plan
        self._known.clear()

    async def run(self) -> None:
        """Keep the JWKS fresh until cancelled; return at once when there is none."""
        if self._keys is not None:
            await self._keys.run()

    def verify(self, token: str) -> Principal | Awaitable[Principal]:
        """Check signature, algorithm, time and claim.

        Returns:
            The principal, or an awaitable of it when the key the token names must be fetched first.

        Raises:
            TokenExpiredError: The token was good and is over.
            AuthFailedError: Anything else is wrong with it.
        """
        if len(token) > _MAX_TOKEN or not token.isascii():
            raise AuthFailedError("token is not a JWT of at most 8 KiB")
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is not None:
            return self._in_time(known)
        if self._keys is None:
            return self._remember(digest, self._decode(token, self._secret, "HS256"))
        algorithm, kid = self._header(token)
        if algorithm in SHARED:
            return self._remember(digest, self._decode(token, self._secret, algorithm))
        key = self._keys.find(algorithm, kid)
        if key is None and self._keys.may_look():
            return self._verify_soon(self._keys, token, algorithm, kid)
        return self._remember(digest, self._decode(token, key, algorithm))

    async def _verify_soon(self, keys: KeySet, token: str, algorithm: str, kid: str | None) -> Principal:
        key = await keys.find_soon(algorithm, kid)
        return self._remember(hashlib.sha256(token.encode()).digest(), self._decode(token, key, algorithm))

    def _header(self, token: str) -> tuple[str, str | None]:
        """Algorithm and key id as the token claims them, the algorithm being one that counts."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise AuthFailedError("token is malformed") from error
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._allowed:
            raise AuthFailedError("token algorithm is not accepted")
        return algorithm, header.get("kid")

    def _decode(self, token: str, key: str | jwt.PyJWK | None, algorithm: str) -> dict[str, Any]:
        if key is None:
            raise AuthFailedError("token is signed with an unknown key")
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                options=self._options,
                audience=self._audience,
                issuer=self._issuer,
            )
        except jwt.InvalidAudienceError as error:
            raise AuthFailedError("token is for another audience") from error
        except jwt.InvalidIssuerError as error:
            raise AuthFailedError("token is from another issuer") from error
        except jwt.MissingRequiredClaimError as error:
            raise AuthFailedError(f"token has no {error.claim}") from error
        except jwt.InvalidAlgorithmError as error:
            raise AuthFailedError("token algorithm is not accepted") from error
        except jwt.InvalidSignatureError as error:
            raise AuthFailedError("token signature is wrong") from error
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            raise AuthFailedError("token is malformed") from error

    def _remember(self, digest: bytes, claims: dict[str, Any]) -> Principal:
        principal = self._in_time(self._principal(claims))
        self._known[digest] = principal
        return principal

    def _in_time(self, principal: Principal) -> Principal:
        if self._clock.wall_ms() >= principal.expires_at_ms:
            raise TokenExpiredError("token has expired")
        return principal

    def _principal(self, claims: dict[str, Any]) -> Principal:
        starts_at_ms = _time_ms(claims, "nbf") if claims.get("nbf") is not None else 0
        if self._clock.wall_ms() + self._leeway_ms < starts_at_ms:
            raise AuthFailedError("token is not valid yet")
        symbols = claims.get("symbols")
        return Principal(
            user=_name(claims, "sub"),
            tenant=_name(claims, "tenantId"),
            plan=self._plan(claims.get("plan")),
            scopes=_scopes(claims.get("scope")),
            symbols=None if symbols is None else _globs(symbols),
            # The leeway is part of it, so that a connection accepted within the leeway is not closed at once.
            expires_at_ms=_time_ms(claims, "exp") + self._leeway_ms,
        )

    def _plan(self, name: object) -> Plan:
        if name is None:
            return self._plans[self._default_plan]
        if not isinstance(name, str) or name not in self._plans:
            raise AuthFailedError("token names an unknown plan")
        return self._plans[name]


def check_secret(secret: str) -> str:
    """Return the secret, when it is good enough to sign with.

    Raises:
        ConfigurationError: It is shorter than 32 bytes, or is a public key, which everybody has.
    """
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise ConfigurationError("auth.secret", f"it must be at least {MIN_SECRET_BYTES} bytes long")
    try:
        jwt.get_algorithm_by_name("HS256").prepare_key(secret)
    except jwt.InvalidKeyError as error:
        raise ConfigurationError("auth.secret", "it is a public or private key, not a secret") from error
    return secret


def sign_token(
    *,
    secret: str,
    tenant: str,
    user: str,
    plan: str | None,
    scopes: Sequence[str],
    symbols: Sequence[str],
    ttl: int,
    at_ms: int,
    **claims: str,
) -> str:
    """Make a token that a verifier with the same secret accepts.

    Args:
        secret: Shared secret, at least 32 bytes.
        tenant: The tenant the user belongs to.
        user: Who it is for.
        plan: Name of the plan; None: whatever the server's default is.
        scopes: Rights; none: `market:read`.
        symbols: Globs that narrow the plan; none: everything the plan allows.
        ttl: Seconds until it ends.
        at_ms: Now, in epoch milliseconds.
        claims: More claims, such as `aud` and `iss` where the server is configured to look at them.

    Raises:
        ConfigurationError: The secret is not good enough.
    """
    at = at_ms // 1000
    payload: dict[str, Any] = {**claims, "sub": user, "tenantId": tenant, "iat": at, "exp": at + ttl}
    if plan is not None:
        payload["plan"] = plan
    if scopes:
        payload["scope"] = " ".join(scopes)
    if symbols:
        payload["symbols"] = list(symbols)
    return jwt.encode(payload, check_secret(secret), algorithm="HS256")


def _pinned(wished: frozenset[str], able: frozenset[str]) -> frozenset[str]:
    unknown = wished - SHARED - PUBLIC
    if unknown:
        offered = ", ".join(sorted(SHARED | PUBLIC))
        raise ConfigurationError("auth.algorithms", f"{', '.join(sorted(unknown))} is not one of {offered}")
    if not able:
        raise ConfigurationError("auth.secret", "neither a secret nor a JWKS is given")
    if wished - able:
        keyless = ", ".join(sorted(wished - able))
        text = f"there is no key for {keyless}: HS256 takes auth.secret, the others auth.jwks"
        raise ConfigurationError("auth.algorithms", text)
    return wished or able


def _time_ms(claims: Mapping[str, Any], claim: str) -> int:
    value = claims.get(claim)
    if value is None:
        raise AuthFailedError(f"token has no {claim}")
    # Written so that NaN, which JSON libraries let through, is refused as well.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST_SECONDS:
        raise AuthFailedError(f"token {claim} is not a time in seconds")
    return int(value * 1000)


def _name(claims: Mapping[str, Any], claim: str) -> str:
    value = claims.get(claim)
    if value is None:
        raise AuthFailedError(f"token has no {claim}")
    # Printable also keeps lone surrogates out, which no message to a client could carry.
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise AuthFailedError(f"token {claim} is not a name")
    return value


def _scopes(value: object) -> frozenset[str]:
    if value is None:
        return frozenset({"market:read"})
    if isinstance(value, str):
        return frozenset(value.split())
    if isinstance(value, list) and all(isinstance(scope, str) for scope in value):
        return frozenset(value)
    raise AuthFailedError("token scope is neither a string nor a list of strings")


def _globs(value: object) -> re.Pattern[str]:
    if not isinstance(value, list) or not all(isinstance(glob, str) for glob in value):
        raise AuthFailedError("token symbols is not a list of strings")
    return compile_globs(glob.upper() for glob in value)


_: type[Verifier] = TokenVerifier
