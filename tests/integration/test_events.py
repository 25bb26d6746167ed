"""Event streams of real servers: every way in, every edge, two gateways, and whatever somebody may send."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.watcher import watching
from tests.support.event_api import READ, ask, health, ids, knows, publish, receives, streaming
from tests.support.eventually import eventually
from tests.support.gateways import gateways
from tests.support.plain import LANGUAGES, call, code_of, plain
from tests.support.server import Server, running_server
from tests.support.valkey import Valkey, running_valkey

WORK = ("market:read", "events:work")

ROUTES = """
[[rules]]
name = "halts"
filter = { types = ["halt"] }
strategy = "broadcast_all"

[[rules]]
name = "work"
filter = { types = ["work"] }
strategy = "load_balanced"
group = "crew"
"""


@pytest.fixture
def routes(tmp_path: Path) -> dict[str, str]:
    """Settings with rules of the test's own."""
    file = tmp_path / "routes.toml"
    file.write_text(ROUTES)
    return {"MARKETSTREAM_EVENTS__ROUTES_FILE": str(file)}


@pytest.fixture
async def pair(valkey: Valkey, routes: dict[str, str]) -> AsyncIterator[tuple[Server, Server]]:
    """Two servers on one Valkey, the first of which feeds the market."""
    async with gateways(valkey.url, env=routes) as (one, two):
        yield one, two


# One server


async def test_a_subscription_is_the_same_on_every_edge(server: Server) -> None:
    """Made by one, seen and ended by the others."""
    user = "edges"
    token = server.token(user=user)
    async with watching(server, token) as client, plain(server.url, token) as other:
        made = await client.call("subscribe_events", {"name": "mine", "filter": {"symbols": ["eur/usd"]}})
        assert made == {"subscribed": "mine", "filter": {"symbols": ["EUR/USD"]}}
        held = [{"name": "mine", "filter": {"symbols": ["EUR/USD"]}}]
        assert await ask(server, "GET", "/subscriptions", user=user) == (200, {"subscriptions": held})
        assert await ask(server, "GET", "/subscriptions/mine", user=user) == (200, held[0])
        await other.say(call("type", "event_subscriptions"))
        found = await other.until(lambda message: message["type"] == "event_subscriptions")
        assert found["data"] == {"subscriptions": held}
        status, put = await ask(
            server, "PUT", "/subscriptions/a%2Fb%20%C3%BC", {"minConfidence": 1}, user=user
        )
        assert (status, put) == (200, {"name": "a/b ü", "filter": {"minConfidence": 1.0}})
        assert await client.call("unsubscribe_events", {"name": "mine"}) == {"unsubscribed": "mine"}
        assert (await ask(server, "DELETE", "/subscriptions/a%2Fb%20%C3%BC", user=user))[0] == 200
        assert (await ask(server, "DELETE", "/subscriptions/a%2Fb%20%C3%BC", user=user))[0] == 404
        assert await client.call("event_subscriptions") == {"subscriptions": []}


def said(language: str, fields: dict[str, Any]) -> dict[str, Any]:
    """A subscription to events as a language says it."""
    if language == "action":
        return {"action": "subscribe_events", **fields}
    return {"type": "subscribe_events", "data": fields}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_plain_websocket_subscribes_and_is_told(server: Server, language: str) -> None:
    async with plain(server.url, server.token(user=f"plain {language}")) as client:
        await client.say(said(language, {"name": "mine", "filter": {"types": [language]}}))
        await client.until(lambda message: "subscribed_events" in message.values())
        await publish(server, {"id": f"p {language}", "type": language})
        told = await client.until(lambda message: message.get("type") == "events")
        assert [event["id"] for event in told["data"]["events"]] == [f"p {language}"]
        await client.say(said(language, {"name": "mine", "filter": {"types": 5}}))
        assert await client.until(lambda message: code_of(message) == "INVALID_MESSAGE")


async def test_a_stream_brings_events_and_no_prices(server: Server) -> None:
    token = server.token(user="streamer")
    await ask(server, "PUT", "/subscriptions/all", {"types": ["sse"]}, user="streamer")
    async with streaming(server, token) as stream:
        await knows(server, 1)
        await publish(server, {"id": "s1", "type": "sse", "data": {"text": "line\nbreak"}})
        block = await stream.event("events")
        assert [(event["id"], event["data"]) for event in block.data["events"]] == [
            ("s1", {"text": "line\nbreak"})
        ]
        assert block["id"] is None


async def test_a_stream_needs_a_good_token_that_may_read(server: Server) -> None:
    for token, status in (("nonsense", 401), (server.token(scopes=("market:publish",)), 403)):
        with pytest.raises(AssertionError) as refusal:
            async with streaming(server, token):
                pass
        assert ("AUTH_FAILED" if status == 401 else "NOT_ENTITLED") in str(refusal.value)


async def test_subscriptions_are_back_after_a_reconnect_without_a_word(server: Server) -> None:
    token = server.token(user="again")
    async with watching(server, token) as client:
        await client.call("subscribe_events", {"name": "mine", "filter": {"types": ["again"]}})
    await knows(server, 0)
    async with watching(server, token) as client:
        await knows(server, 1)
        await publish(server, {"id": "r1", "type": "again"})
        await receives(client, "r1")


async def test_publishing_needs_its_scope_and_looking_at_health_another(server: Server) -> None:
    event = {"type": "a", "name": "b"}
    assert (await ask(server, "POST", body=event, scopes=READ))[0] == 403
    assert (await ask(server, "GET", "/health", scopes=READ))[0] == 403
    assert (await health(server))["status"] == "healthy"


# Hostile input


BAD_FILTERS: list[Any] = [
    5,
    "types",
    [],
    {"types": "alert"},
    {"types": []},
    {"types": [5]},
    {"types": [""]},
    {"types": ["x" * 65]},
    {"types": ["\u0000"]},
    {"types": ["\u202e"]},
    {"types": [None]},
    {"types": {"$ne": 1}},
    {"types": [str(number) for number in range(10_000)]},
    {"names": [["nested"]]},
    {"symbols": ["no symbol"]},
    {"symbols": ["\uff21\uff21\uff30\uff2c"]},
    {"tiers": ["weekly"]},
    {"tiers": ["daily"] * 201},
    {"minConfidence": "0.5"},
    {"minConfidence": True},
    {"minConfidence": 1.01},
    {"minConfidence": -1},
    {"minPriority": 2},
    {"minPriority": "critical"},
    {"minPriority": "URGENT"},
    {"typs": ["alert"]},
    {"__proto__": {}},
    {"tenantId": "rival"},
    {"user": "u2"},
]


@pytest.mark.parametrize("filter_", BAD_FILTERS, ids=lambda each: json.dumps(each)[:40])
async def test_a_bad_filter_is_refused_and_changes_nothing(server: Server, filter_: Any) -> None:
    status, answer = await ask(server, "PUT", "/subscriptions/bad", filter_, user="bad")
    assert (status, answer["error"]["code"]) == (400, "INVALID_MESSAGE")
    assert len(answer["error"]["message"]) < 300
    assert await ask(server, "GET", "/subscriptions", user="bad") == (200, {"subscriptions": []})


async def test_calls_with_impossible_payloads_are_answered(server: Server) -> None:
    async with watching(server, server.token(user="odd")) as client:
        for filter_ in BAD_FILTERS:
            payload = {"name": "n", "filter": filter_}
            answer = await client.call("subscribe_events", payload)
            assert answer["code"] in {"INVALID_MESSAGE", "RATE_LIMITED"}
    async with watching(server, server.token(user="odd")) as client:
        names: tuple[Any, ...] = (None, 5, "", "x" * 65, "a\nb", ["a"], {})
        for name in names:
            for called in ("subscribe_events", "unsubscribe_events"):
                assert (await client.call(called, {"name": name}))["code"] == "INVALID_MESSAGE"
        for called, field in (("join_group", "group"), ("leave_group", "group"), ("ack_event", "id")):
            assert (await client.call(called, {field: 5}))["code"] == "INVALID_MESSAGE"
        assert (await client.call("join_group", {"group": "nobody"}))["code"] == "INVALID_MESSAGE"
        assert await client.call("event_subscriptions") == {"subscriptions": []}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"5",
        b'"text"',
        b"null",
        b'{"events":5}',
        b"[" * 5_000,
        b"\xff",
        json.dumps([{}] * 1_001).encode(),
    ],
    ids=lambda body: repr(body[:12]),
)
async def test_a_body_that_holds_no_events_is_refused(server: Server, body: bytes) -> None:
    status, answer = await ask(server, "POST", body=body, scopes=("market:publish",))
    assert (status, answer["error"]["code"]) == (400, "INVALID_MESSAGE")


async def test_events_that_are_none_are_named_by_index_and_the_others_arrive(server: Server) -> None:
    good = {"type": "mixed", "name": "n"}
    bad: list[Any] = [
        *(5, None, [], {"type": "mixed"}, {**good, "priority": "urgent"}, {**good, "confidence": 2}),
        *({**good, "data": []}, {**good, "data": {"big": "x" * 20_000}}, {**good, "symbol": "no symbol"}),
        *({**good, "timestamp": 10**15}, {**good, "timestamp": "now"}, {**good, "id": "x" * 129}),
        *({**good, "tier": "weekly"}, {**good, "tenantId": ""}, {**good, "expiresAt": -1}),
    ]
    async with watching(server, server.token(user="mixed")) as client:
        await client.call("subscribe_events", {"name": "m", "filter": {"types": ["mixed"]}})
        listed = [{**good, "id": "first"}, *bad, {**good, "id": "last", "unknown": 1}]
        status, answer = await ask(server, "POST", body=listed, scopes=("market:publish",))
        assert (status, answer["accepted"]) == (200, 2)
        assert [fault["index"] for fault in answer["rejected"]] == list(range(1, len(bad) + 1))
        await receives(client, "first", "last")


async def test_events_too_large_for_a_body_are_refused(server: Server) -> None:
    listed = [{"type": "a", "name": "b", "data": {"x": "y" * 16_000}}] * 100
    status, answer = await ask(server, "POST", body=listed, scopes=("market:publish",))
    assert (status, answer["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_names_of_other_users_and_tenants_are_out_of_reach(server: Server) -> None:
    await ask(server, "PUT", "/subscriptions/secret", {"types": ["x"]}, user="owner")
    strangers = [
        {"user": "other"},
        {"user": "owner", "tenant": "rival"},
        {"user": "", "tenant": "acme owner"},
    ]
    for who in strangers[:2]:
        for method in ("GET", "DELETE"):
            status, answer = await ask(server, method, "/subscriptions/secret", **who)
            assert (status, answer["error"]["code"]) == (404, "NOT_FOUND")
        assert await ask(server, "GET", "/subscriptions", **who) == (200, {"subscriptions": []})
        await ask(server, "PUT", "/subscriptions/secret", {"types": ["y"]}, **who)
    kept = {"name": "secret", "filter": {"types": ["x"]}}
    assert await ask(server, "GET", "/subscriptions/secret", user="owner") == (200, kept)


async def test_an_event_for_one_tenant_reaches_no_other(server: Server) -> None:
    everything = {"name": "all", "filter": {"types": ["tenants"]}}
    async with (
        watching(server, server.token(user="t")) as ours,
        watching(server, server.token(user="t", tenant="rival")) as theirs,
    ):
        for client in (ours, theirs):
            await client.call("subscribe_events", everything)
        for tenant in ("acme", "rival", None):
            await publish(server, {"id": f"for {tenant}", "type": "tenants", "tenantId": tenant})
        await receives(ours, "for acme", "for None")
        await receives(theirs, "for rival", "for None")


async def test_more_subscriptions_than_may_be_are_refused(server: Server) -> None:
    for number in range(50):
        assert (await ask(server, "PUT", f"/subscriptions/n{number}", {}, user="many"))[0] == 200
    status, answer = await ask(server, "PUT", "/subscriptions/more", {}, user="many")
    assert (status, answer["error"]["code"]) == (409, "SUBSCRIPTION_LIMIT")


# Two servers


async def test_an_event_reaches_users_at_every_server_once(pair: tuple[Server, Server]) -> None:
    one, two = pair
    async with (
        watching(one, one.token(user="a", scopes=WORK)) as here,
        watching(two, two.token(user="b", scopes=WORK)) as there,
    ):
        for client in (here, there):
            await client.call("subscribe_events", {"name": "all"})
        await publish(one, {"id": "1"})
        assert (await publish(two, {"id": "1"}))["repeated"] == 1
        await publish(two, {"id": "2", "priority": "CRITICAL"})
        for client in (here, there):
            await client.until("events", 2)
            assert sorted(ids(client)) == ["1", "2"]


async def test_a_subscription_counts_at_every_server_and_ends_at_every_server(
    pair: tuple[Server, Server],
) -> None:
    one, two = pair
    async with watching(one, one.token()) as here, watching(two, two.token()) as there:
        await here.call("subscribe_events", {"name": "mine"})
        await knows(two, 1)
        await publish(one, {"id": "1"})
        await receives(there, "1")
        await there.call("unsubscribe_events", {"name": "mine"})
        await knows(one, 0)
        await publish(two, {"id": "2"}, {"id": "3", "type": "halt"})
        await receives(here, "1", "3")


async def test_whoever_reconnects_to_another_server_receives_what_it_did(pair: tuple[Server, Server]) -> None:
    one, two = pair
    async with watching(one, one.token()) as client:
        await client.call("subscribe_events", {"name": "mine", "filter": {"types": ["alert"]}})
    async with watching(two, two.token()) as client:
        await knows(two, 1)
        await publish(one, {"id": "1"}, {"id": "2", "type": "other"})
        await receives(client, "1")


async def test_back_ends_may_use_channels_and_the_stream_of_redis(
    pair: tuple[Server, Server], valkey: Valkey
) -> None:
    """Bad ones are told in the log, or buried."""
    one, two = pair
    good = {"type": "alert", "name": "n"}
    async with watching(two, two.token()) as client:
        await client.call("subscribe_events", {"name": "all"})
        with valkey.client() as redis:
            redis.publish("marketstream.events.signals", json.dumps({**good, "id": "1"}))
            for bad in (b"{broken", b"5", b'{"type":"alert"}', b"x" * 1_100_000):
                redis.publish("marketstream.events.signals", bad)
            redis.publish("marketstream.other", json.dumps({**good, "id": "nobody's"}))
            redis.publish("marketstream.events.a.b", json.dumps([{**good, "id": "2"}, {**good, "id": "1"}]))
            await receives(client, "1", "2")
            redis.xadd("marketstream.events", {"event": json.dumps({**good, "id": "3"})})
            redis.xadd("marketstream.events", {"event": "{}"})
            redis.xadd("marketstream.events", {"other": "x"})
            redis.xadd("marketstream.events", {"event": json.dumps(good)})
            await eventually(lambda: len(ids(client)) == 4, what="all of them")
            assert ids(client)[2] == "3"
            assert ids(client)[3].startswith("entry-")
            await eventually(lambda: redis.xlen("marketstream.events.dead") == 2, what="the dead")
            await eventually(lambda: not _pending(redis), what="acknowledgements")
        refused = [entry["error"] for entry in await one.logged("event_message_refused", 3)]
        assert len(refused) == 3


def _pending(redis: Any) -> int:
    return int(redis.xpending("marketstream.events", "marketstream")["pending"])


async def test_the_work_of_a_group_is_shared_between_servers(pair: tuple[Server, Server]) -> None:
    one, two = pair
    async with (
        watching(one, one.token(user="a", scopes=WORK)) as here,
        watching(two, two.token(user="b", scopes=WORK)) as there,
    ):
        for client in (here, there):
            assert await client.call("join_group", {"group": "crew"}) == {"joined": "crew"}
        await publish(two, *({"id": f"{number}", "type": "work"} for number in range(6)))
        await eventually(lambda: len(ids(here)) == len(ids(there)) == 3, what="a half each")
        mine = ids(here)[0]
        assert await here.call("ack_event", {"id": mine}) == {"acked": mine}
        await here.call("ack_event", {"id": mine})
        assert await here.call("leave_group", {"group": "crew"}) == {"left": "crew"}
        await eventually(lambda: len(ids(there)) == 5, what="what the other had in hand")
        assert mine not in ids(there)


async def test_nobody_joins_a_group_without_the_scope_on_any_edge(routes: dict[str, str]) -> None:
    async with running_server(env=routes) as server:
        reader, worker = (server.token(scopes=scopes) for scopes in (READ, WORK))
        async with watching(server, reader) as client:
            assert (await client.call("join_group", {"group": "crew"}))["code"] == "NOT_ENTITLED"
        for language in LANGUAGES:
            async with plain(server.url, reader) as refused, plain(server.url, worker) as member:
                asked = call(language, "join_group", group="crew")
                assert code_of(await refused.ask(asked, "joined_group")) == "NOT_ENTITLED"
                assert code_of(await member.ask(asked, "joined_group")) is None


async def test_what_a_killed_server_had_in_hand_is_given_to_others(routes: dict[str, str]) -> None:
    async with AsyncExitStack() as stack:
        bus = stack.enter_context(running_valkey()).url
        (leader,) = await stack.enter_async_context(gateways(bus, 1, env=routes))
        edges = [
            await stack.enter_async_context(running_server("--bus", bus, "--role", "gateway", env=routes))
            for _ in range(2)
        ]
        first, last = [
            await stack.enter_async_context(watching(edge, edge.token(scopes=WORK))) for edge in edges
        ]
        for worker in (first, last):
            await worker.call("join_group", {"group": "crew"})
        await publish(leader, *({"id": f"{number}", "type": "work"} for number in range(4)))
        await eventually(lambda: len(ids(first)) == len(ids(last)) == 2, what="two each")
        edges[0].kill()
        await eventually(lambda: len(ids(last)) == 4, 20, "everything with the last worker")
        assert set(ids(last)) == {"0", "1", "2", "3"}


async def test_who_hands_out_the_work_may_die_and_the_next_one_goes_on(
    valkey: Valkey, routes: dict[str, str]
) -> None:
    """What workers have in hand is known to the servers that they are connected to."""
    async with (
        gateways(valkey.url, env=routes) as (leader, spare),
        watching(spare, spare.token(user="a", scopes=WORK)) as one,
        watching(spare, spare.token(user="b", scopes=WORK)) as two,
    ):
        for worker in (one, two):
            await worker.call("join_group", {"group": "crew"})
        await publish(leader, *({"id": f"{number}", "type": "work"} for number in range(4)))
        await eventually(lambda: len(ids(one)) == len(ids(two)) == 2, what="two each")
        leader.kill()
        await eventually(lambda: spare.events("lease_taken"), 20, "another leader")
        await one.call("leave_group", {"group": "crew"})
        await eventually(lambda: len(ids(two)) == 4, 10, "everything with the other worker")


async def test_while_redis_is_away_changes_and_events_are_refused_and_nothing_is_lost_after(
    routes: dict[str, str],
) -> None:
    with running_valkey() as valkey:
        async with gateways(valkey.url, 1, env=routes) as (server,), watching(server) as client:
            await client.call("subscribe_events", {"name": "kept"})
            valkey.pause()
            try:
                answer = await client.call("subscribe_events", {"name": "new"})
                assert answer["code"] == "UNAVAILABLE"
                status, refused = await ask(
                    server, "POST", body={"id": "1", "type": "alert", "name": "n"}, scopes=("market:publish",)
                )
                assert (status, refused["error"]["code"]) == (503, "UNAVAILABLE")
            finally:
                valkey.go_on()
            await eventually(lambda: _again(server), 20, "events that travel again")
            await eventually(lambda: "again" in ids(client), what="the event")
            assert ids(client).count("1") <= 1


async def _again(server: Server) -> bool:
    status, _ = await ask(
        server, "POST", body={"id": "again", "type": "alert", "name": "n"}, scopes=("market:publish",)
    )
    return status == 200


async def test_rules_that_cannot_be_stop_the_start(tmp_path: Path) -> None:
    file = tmp_path / "routes.toml"
    file.write_text('[[rules]]\nname = "a"\nstrategy = "nobody"\n')
    env = {"MARKETSTREAM_EVENTS__ROUTES_FILE": str(file)}
    with pytest.raises(AssertionError, match="ended with 2"):
        async with running_server(env=env):
            pass
