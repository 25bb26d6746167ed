import asyncio
import base64
import hashlib
import hmac
import json
import warnings
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cachetools import LRUCache
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.delivery.entitlements import Plan, Principal
from marketstream.errors import AuthError, AuthFailedError, ConfigurationError, TokenExpiredError
from marketstream.security.jwt import TokenVerifier, sign_token
from tests.support.clock import FakeClock
from tests.support.eventually import eventually

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

SECRET = "a secret of this test, long enough for HS256"
PLANS = {"basic": Plan("basic"), "pro": Plan("pro", max_connections=7)}
RSA = generate_rsa(65537, 2048)
OTHER_RSA = generate_rsa(65537, 2048)
EC = generate_ec(SECP256R1())
ED = Ed25519PrivateKey.generate()


def verifier(clock: FakeClock | None = None, **rules: Any) -> TokenVerifier:
    defaults: dict[str, Any] = {"plans": PLANS, "default_plan": "basic", "clock": clock or FakeClock()}
    keys = {} if "jwks" in rules else {"secret": SECRET}
    return TokenVerifier(**(defaults | keys | rules))


def claims(clock: FakeClock, **changes: Any) -> dict[str, Any]:
    """Good claims, changed; a claim changed to None is left out."""
    good = {"sub": "ada", "tenantId": "acme", "exp": clock.wall_ms() // 1000 + 60}
    return {name: value for name, value in (good | changes).items() if value is not None}


def signed(clock: FakeClock, secret: str = SECRET, **changes: Any) -> str:
    return jwt.encode(claims(clock, **changes), secret, algorithm="HS256")


def at_once(answer: Principal | Awaitable[Principal]) -> Principal:
    assert isinstance(answer, Principal), "the key was at hand, so there was nothing to wait for"
    return answer


def forged(header: dict[str, Any], payload: dict[str, Any], key: bytes | None) -> str:
    """A token made by hand, as an attacker would: PyJWT refuses to make these."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, payload)]
    text = b".".join(parts)
    signature = b"" if key is None else hmac.new(key, text, hashlib.sha256).digest()
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def jwk(key: PrivateKey, algorithm: str, kid: str | None) -> dict[str, Any]:
    data: dict[str, Any] = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return data | {"alg": algorithm} | ({} if kid is None else {"kid": kid})


def asymmetric(clock: FakeClock, key: PrivateKey, algorithm: str, kid: str | None) -> str:
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims(clock), key, algorithm=algorithm, headers=headers)


def jwks_file(folder: Path, *keys: dict[str, Any]) -> str:
    file = folder / "jwks.json"
    file.write_text(json.dumps({"keys": keys}))
    return str(file)


def test_a_good_token_becomes_a_principal() -> None:
    clock = FakeClock()
    scopes = ["market:read", "market:publish"]
    token = sign_token(
        secret=SECRET,
        tenant="acme",
        user="ada",
        plan="pro",
        scopes=scopes,
        symbols=["eur/*"],
        ttl=60,
        at_ms=clock.wall_ms(),
    )
    principal = at_once(verifier(clock).verify(token))
    assert (principal.user, principal.tenant, principal.plan) == ("ada", "acme", PLANS["pro"])
    assert principal.scopes == frozenset(scopes)
    assert principal.expires_at_ms == clock.wall_ms() + 60_000
    assert principal.allows_symbol("EUR/USD")
    assert not principal.allows_symbol("GBP/USD")


def test_a_token_that_says_little_reads_the_market_on_the_default_plan() -> None:
    clock = FakeClock()
    principal = at_once(verifier(clock).verify(signed(clock)))
    assert principal.plan is PLANS["basic"]
    assert principal.scopes == {"market:read"}
    assert principal.symbols is None


@pytest.mark.parametrize("scope", ["admin market:publish", ["admin", "market:publish"]])
def test_scopes_are_a_string_or_a_list(scope: object) -> None:
    clock = FakeClock()
    assert at_once(verifier(clock).verify(signed(clock, scope=scope))).scopes == {"admin", "market:publish"}


def test_an_empty_list_of_symbols_allows_none() -> None:
    clock = FakeClock()
    assert not at_once(verifier(clock).verify(signed(clock, symbols=[]))).allows_symbol("AAPL")


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\nb"},
        {"sub": "\ud800"},
        {"tenantId": None},
        {"tenantId": "  "},
        {"tenantId": ["acme"]},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"exp": 1_700_000_000_000},
        {"nbf": 1_700_000_060},
        {"nbf": "now"},
        {"plan": "platinum"},
        {"plan": ["pro"]},
        {"scope": 7},
        {"scope": [7]},
        {"symbols": "EUR/*"},
        {"symbols": [7]},
        {"symbols": {"EUR/*": True}},
    ],
    ids=repr,
)
def test_a_token_whose_claims_are_not_right_is_refused(changes: dict[str, Any]) -> None:
    clock = FakeClock()
    with pytest.raises(AuthFailedError) as refused:
        verifier(clock).verify(signed(clock, **changes))
    assert len(str(refused.value)) < 60


def test_a_token_is_good_until_its_end_and_expired_from_then_on() -> None:
    """Also when it is remembered: the end is looked at every time."""
    clock = FakeClock()
    checks, token = verifier(clock), signed(clock)
    clock.advance(59.999)
    assert checks.verify(token) == checks.verify(token)
    clock.advance(0.001)
    for _ in range(2):
        with pytest.raises(TokenExpiredError):
            checks.verify(token)
    with pytest.raises(TokenExpiredError):
        verifier(clock).verify(token)


def test_the_clock_that_counts_is_the_injected_one() -> None:
    """The machine is decades away from this clock, in both directions."""
    for wall_ms in (1_000_000_000_000, 4_000_000_000_000):
        clock = FakeClock(wall_ms=wall_ms)
        assert (
            at_once(verifier(clock).verify(signed(clock, iat=wall_ms // 1000, nbf=wall_ms // 1000))).user
            == "ada"
        )


def test_leeway_forgives_both_ends_and_counts_towards_the_end() -> None:
    clock = FakeClock()
    now = clock.wall_ms() // 1000
    checks = verifier(clock, leeway=5)
    assert at_once(checks.verify(signed(clock, nbf=now + 5))).user == "ada"
    with pytest.raises(AuthFailedError):
        checks.verify(signed(clock, nbf=now + 6))
    assert at_once(checks.verify(signed(clock, exp=now - 4))).expires_at_ms == clock.wall_ms() + 1000
    with pytest.raises(TokenExpiredError):
        checks.verify(signed(clock, exp=now - 5))


def test_a_token_of_another_secret_is_refused() -> None:
    clock = FakeClock()
    with pytest.raises(AuthFailedError, match="signature"):
        verifier(clock).verify(signed(clock, secret=SECRET[::-1]))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS384", "RS256", "", None, 7, ["HS256"]])
def test_an_algorithm_that_is_not_pinned_is_refused(algorithm: object) -> None:
    clock = FakeClock()
    for key in (None, SECRET.encode()):
        with pytest.raises(AuthFailedError):
            verifier(clock).verify(forged({"alg": algorithm, "typ": "JWT"}, claims(clock), key))


@pytest.mark.parametrize("algorithms", [(), ("RS256",)])
def test_a_public_key_is_never_taken_as_a_shared_secret(tmp_path: Path, algorithms: tuple[str, ...]) -> None:
    """Algorithm confusion: HS256 with the bytes of the RS256 key, which everybody has."""
    clock = FakeClock()
    jwks = jwks_file(tmp_path, jwk(RSA, "RS256", "k1"))
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in ({}, {"secret": SECRET}) if not algorithms else ({},):
        checks = verifier(clock, jwks=jwks, algorithms=algorithms, **secret)
        for key in (pem, pem.strip(), b""):
            for kid in ({}, {"kid": "k1"}):
                with pytest.raises(AuthFailedError):
                    checks.verify(forged({"alg": "HS256"} | kid, claims(clock), key))


def test_a_key_answers_for_its_own_algorithm_only(tmp_path: Path) -> None:
    clock = FakeClock()
    checks = verifier(clock, jwks=jwks_file(tmp_path, jwk(RSA, "RS256", "k1")))
    with pytest.raises(AuthFailedError, match="unknown key"):
        checks.verify(asymmetric(clock, EC, "ES256", "k1"))


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "eyJhbGciOiJIUzI1NiJ9", "é.é.é", "\ud800", "x" * 9000]
)
def test_garbage_is_refused(token: str, tmp_path: Path) -> None:
    for checks in (verifier(), verifier(jwks=jwks_file(tmp_path, jwk(RSA, "RS256", None)))):
        with pytest.raises(AuthFailedError):
            checks.verify(token)


def test_a_token_longer_than_8_kib_is_refused_however_good_it_is() -> None:
    clock = FakeClock()
    assert at_once(verifier(clock).verify(signed(clock, note="x" * 5000))).user == "ada"
    with pytest.raises(AuthFailedError, match="8 KiB"):
        verifier(clock).verify(signed(clock, note="x" * 6200))


def test_the_audience_is_looked_at_when_one_is_configured() -> None:
    clock = FakeClock()
    checks = verifier(clock, audience="marketstream")
    for good in ("marketstream", ["other", "marketstream"]):
        assert at_once(checks.verify(signed(clock, aud=good))).user == "ada"
    bad: object
    for bad in (None, "other", [], 7):
        with pytest.raises(AuthFailedError):
            checks.verify(signed(clock, aud=bad))
    assert at_once(verifier(clock).verify(signed(clock, aud="other"))).user == "ada"


def test_the_issuer_is_looked_at_when_one_is_configured() -> None:
    clock = FakeClock()
    checks = verifier(clock, issuer="https://id.example")
    assert at_once(checks.verify(signed(clock, iss="https://id.example"))).user == "ada"
    for bad in (None, "https://id.example.evil"):
        with pytest.raises(AuthFailedError, match="iss"):
            checks.verify(signed(clock, iss=bad))
    assert at_once(verifier(clock).verify(signed(clock, iss="anyone"))).user == "ada"


@given(st.text(max_size=300) | st.from_regex(r"[\w-]+\.[\w-]*\.[\w-]*", fullmatch=True))
def test_no_text_makes_the_verifier_raise_anything_but_a_refusal(text: str) -> None:
    with pytest.raises(AuthError):
        verifier().verify(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
NAMES = st.sampled_from(["sub", "tenantId", "exp", "nbf", "plan", "scope", "symbols", "aud", "iat", "jti"])


@given(st.dictionaries(NAMES, JSON))
def test_no_claim_makes_the_verifier_raise_anything_but_a_refusal(changes: dict[str, Any]) -> None:
    """Whoever signs may write anything; a principal that comes out has a user, a tenant and an end."""
    clock = FakeClock()
    token = forged({"alg": "HS256"}, claims(clock) | changes, SECRET.encode())
    try:
        principal = at_once(verifier(clock).verify(token))
    except AuthError:
        return
    assert principal.user
    assert principal.tenant
    assert principal.expires_at_ms > clock.wall_ms()


def test_remembered_tokens_are_bounded() -> None:
    clock = FakeClock()
    checks = verifier(clock)
    checks._known = LRUCache(5)
    for number in range(20):
        checks.verify(signed(clock, jti=str(number)))
    assert len(checks._known) == 5
    assert verifier(clock)._known.maxsize == 10_000


def test_what_is_remembered_of_a_token_is_not_the_token() -> None:
    """A dump of the memory must not be a list of keys to every account."""
    clock = FakeClock()
    checks, token = verifier(clock), signed(clock)
    checks.verify(token)
    assert list(checks._known) == [hashlib.sha256(token.encode()).digest()]


def test_a_remembered_token_costs_no_second_signature() -> None:
    """A reconnect storm: the very same principal comes back."""
    clock = FakeClock()
    checks, token = verifier(clock), signed(clock)
    assert checks.verify(token) is checks.verify(token)


def test_a_refused_token_is_not_remembered() -> None:
    clock = FakeClock()
    checks = verifier(clock)
    with pytest.raises(AuthFailedError):
        checks.verify(signed(clock, plan="platinum"))
    assert len(checks._known) == 0


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        ({"secret": "x" * 31}, "auth.secret"),
        ({"secret": None}, "auth.secret"),
        ({"secret": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"}, "auth.secret"),
        ({"algorithms": ["none"]}, "auth.algorithms"),
        ({"algorithms": ["HS512"]}, "auth.algorithms"),
        ({"algorithms": ["RS256"]}, "auth.algorithms"),
        ({"default_plan": "platinum"}, "auth.default_plan"),
        ({"jwks": "/nowhere/jwks.json"}, "auth.jwks"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(rules: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        verifier(**rules)
    assert refused.value.path == path


def test_a_secret_that_is_too_short_signs_nothing() -> None:
    with pytest.raises(ConfigurationError):
        sign_token(secret="short", tenant="t", user="u", plan=None, scopes=(), symbols=(), ttl=1, at_ms=0)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"keys": []}', '{"keys": [7]}', '{"keys": [{"kty": "RSA"}]}']
)
def test_a_file_without_a_usable_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "jwks.json").write_text(content)
    with pytest.raises(ConfigurationError) as refused:
        verifier(jwks=str(tmp_path / "jwks.json"))
    assert refused.value.path == "auth.jwks"


@pytest.mark.parametrize(
    "odd", [{"kty": "oct", "k": "c2VjcmV0"}, {"use": "enc"}, {"kty": "RSA", "n": 7}, {"kid": 7}]
)
def test_keys_that_are_not_for_signatures_are_left_out(tmp_path: Path, odd: dict[str, Any]) -> None:
    """The good key beside them still counts."""
    clock = FakeClock()
    jwks = jwks_file(tmp_path, jwk(OTHER_RSA, "RS256", "odd") | odd, jwk(RSA, "RS256", "k1"))
    checks = verifier(clock, jwks=jwks)
    assert at_once(checks.verify(asymmetric(clock, RSA, "RS256", "k1"))).user == "ada"
    assert checks._keys is not None
    assert len(checks._keys._keys) == 1


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")])
def test_each_algorithm_is_checked_with_a_key_of_a_file(
    tmp_path: Path, key: PrivateKey, algorithm: str
) -> None:
    clock = FakeClock()
    checks = verifier(clock, jwks=jwks_file(tmp_path, jwk(key, algorithm, "k1")))
    assert at_once(checks.verify(asymmetric(clock, key, algorithm, "k1"))).user == "ada"


def test_a_key_that_is_too_small_is_refused(tmp_path: Path) -> None:
    clock = FakeClock()
    small = generate_rsa(65537, 1024)  # noqa: S505  # that is what must be refused
    checks = verifier(clock, jwks=jwks_file(tmp_path, jwk(small, "RS256", "k1")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library warns of making the token; the verifier must refuse it
        token = asymmetric(clock, small, "RS256", "k1")
    with pytest.raises(AuthFailedError):
        checks.verify(token)


def test_a_token_without_a_key_id_is_checked_with_the_only_key_of_its_algorithm(tmp_path: Path) -> None:
    clock = FakeClock()
    one = verifier(clock, jwks=jwks_file(tmp_path, jwk(RSA, "RS256", "k1"), jwk(EC, "ES256", "k2")))
    assert at_once(one.verify(asymmetric(clock, RSA, "RS256", None))).user == "ada"


def test_both_kinds_of_keys_may_be_in_use(tmp_path: Path) -> None:
    """For moving from one to the other."""
    clock = FakeClock()
    checks = verifier(clock, secret=SECRET, jwks=jwks_file(tmp_path, jwk(RSA, "RS256", "k1")))
    assert at_once(checks.verify(signed(clock))).user == "ada"
    assert at_once(checks.verify(asymmetric(clock, RSA, "RS256", "k1"))).user == "ada"
    pinned = verifier(
        clock, secret=SECRET, jwks=jwks_file(tmp_path, jwk(RSA, "RS256", "k1")), algorithms=["RS256"]
    )
    with pytest.raises(AuthFailedError, match="algorithm"):
        pinned.verify(signed(clock))


class Issuer:
    """A small real issuer: it serves keys over HTTP, counts who asks, and can fail."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.asked = 0
        self.answer: web.Response | None = None
        self.bad_moments = 0
        app = web.Application()
        app.router.add_get("/jwks", self._serve)
        self.server = TestServer(app)

    async def _serve(self, _request: web.Request) -> web.Response:
        self.asked += 1
        if self.bad_moments:
            self.bad_moments -= 1
            return web.Response(status=503, headers={"Retry-After": "0"})
        return self.answer or web.json_response({"keys": self.keys})

    @asynccontextmanager
    async def checked_by(self, clock: FakeClock, **rules: Any) -> AsyncIterator[TokenVerifier]:
        """A verifier of this issuer's tokens, with its task running."""
        async with self.server:
            checks = verifier(clock, jwks=str(self.server.make_url("/jwks")), **rules)
            task = asyncio.create_task(checks.run())
            try:
                yield checks
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def test_tokens_that_come_before_the_keys_wait_for_them() -> None:
    clock = FakeClock()
    issuer = Issuer(jwk(RSA, "RS256", "k1"))
    async with issuer.checked_by(clock) as checks:
        answers = [checks.verify(asymmetric(clock, RSA, "RS256", "k1")) for _ in range(3)]
        assert not any(isinstance(answer, Principal) for answer in answers)
        for answer in answers:
            assert isinstance(answer, Awaitable)
            assert (await answer).user == "ada"
        assert at_once(checks.verify(asymmetric(clock, RSA, "RS256", "k1"))).user == "ada"
        assert issuer.asked == 1


async def test_a_new_key_is_fetched_when_a_token_names_it_and_the_old_one_ends() -> None:
    """Rotation: and nothing is remembered of tokens that the old key signed."""
    clock = FakeClock()
    issuer = Issuer(jwk(RSA, "RS256", "k1"))
    async with issuer.checked_by(clock) as checks:
        old = asymmetric(clock, RSA, "RS256", "k1")
        await _whatever(checks.verify(old))
        assert at_once(checks.verify(old)).user == "ada"
        issuer.keys = [jwk(OTHER_RSA, "RS256", "k2")]
        clock.advance(30)
        assert (await _whatever(checks.verify(asymmetric(clock, OTHER_RSA, "RS256", "k2")))).user == "ada"
        with pytest.raises(AuthFailedError, match="unknown key"):
            checks.verify(old)
        assert issuer.asked == 2


async def test_unknown_key_ids_cannot_make_the_server_hammer_the_issuer() -> None:
    """One look per cooldown, however many ask; in between they are refused at once."""
    clock = FakeClock()
    issuer = Issuer(jwk(RSA, "RS256", "k1"))
    async with issuer.checked_by(clock, jwks_cooldown=30) as checks:
        await _whatever(checks.verify(asymmetric(clock, RSA, "RS256", "k1")))
        for number in range(50):
            with pytest.raises(AuthFailedError, match="unknown key"):
                checks.verify(asymmetric(clock, RSA, "RS256", f"garbage-{number}"))
        assert issuer.asked == 1
        clock.advance(30)
        waiting = [checks.verify(asymmetric(clock, RSA, "RS256", f"more-{number}")) for number in range(50)]
        answers = await asyncio.gather(*map(_whatever, waiting), return_exceptions=True)
        assert all(isinstance(answer, AuthFailedError) for answer in answers)
        assert issuer.asked == 2


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=500),
        lambda: web.Response(text="<html>"),
        lambda: web.json_response({"keys": []}),
        lambda: web.Response(body=b"[" * 200_000),
        lambda: web.Response(body=b" " * (1024 * 1024 + 1)),
    ],
)
async def test_keys_outlive_an_issuer_that_fails(answer: Any) -> None:
    clock = FakeClock()
    issuer = Issuer(jwk(RSA, "RS256", "k1"))
    async with issuer.checked_by(clock) as checks:
        good = asymmetric(clock, RSA, "RS256", "k1")
        await _whatever(checks.verify(good))
        issuer.answer = answer()
        clock.advance(30)
        with pytest.raises(AuthFailedError):
            await _whatever(checks.verify(asymmetric(clock, RSA, "RS256", "k2")))
        assert issuer.asked == 2
        assert at_once(checks.verify(good)).user == "ada"


async def test_one_bad_moment_of_the_issuer_does_not_cost_a_look() -> None:
    clock = FakeClock()
    issuer = Issuer(jwk(RSA, "RS256", "k1"))
    issuer.bad_moments = 1
    async with issuer.checked_by(clock) as checks:
        assert (await _whatever(checks.verify(asymmetric(clock, RSA, "RS256", "k1")))).user == "ada"
        assert issuer.asked == 2


async def test_keys_are_looked_at_again_without_anyone_asking() -> None:
    clock = FakeClock()
    issuer = Issuer(jwk(RSA, "RS256", "k1"))
    async with issuer.checked_by(clock, jwks_refresh=0.01):
        await eventually(lambda: issuer.asked >= 3)


async def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    clock = FakeClock()
    checks = verifier(clock, jwks=jwks_file(tmp_path, jwk(RSA, "RS256", "k1")), jwks_refresh=0.01)
    task = asyncio.create_task(checks.run())
    jwks_file(tmp_path, jwk(OTHER_RSA, "RS256", "k2"))
    token = asymmetric(clock, OTHER_RSA, "RS256", "k2")
    assert checks._keys is not None
    keys = checks._keys
    await eventually(lambda: keys.find("RS256", "k2"))
    assert at_once(checks.verify(token)).user == "ada"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_verifier_with_a_secret_has_nothing_to_run() -> None:
    await verifier().run()


async def _whatever(answer: Principal | Awaitable[Principal]) -> Principal:
    return answer if isinstance(answer, Principal) else await answer
