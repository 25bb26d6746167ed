import asyncio
from typing import Any

import pytest

from marketstream.core.delivery import closing
from marketstream.errors import InvalidMessageError
from tests.support.builders import NAMESPACE, Edge


@pytest.fixture
async def edge() -> Edge:
    """A server without clients."""
    return Edge()


async def test_an_event_to_a_room_reaches_its_members_once(edge: Edge) -> None:
    ours, theirs = edge.member(), edge.member("rival")
    await edge.emit("news", {"x": 1}, room="tenant:acme")
    assert (ours.sink.events, theirs.sink.events) == ([("news", {"x": 1})], [])


async def test_an_event_reaches_members_on_every_edge(edge: Edge) -> None:
    """The members of a tenant's room are not only those of Socket.IO."""
    elsewhere = edge.client(transport="sse")
    await edge.emit("news", 1, room="tenant:acme")
    assert elsewhere.sink.named("news") == [1]


async def test_an_event_to_everybody_reaches_everybody(edge: Edge) -> None:
    clients = [edge.member(), edge.member("rival")]
    await edge.emit("news", 1)
    assert [client.sink.named("news") for client in clients] == [[1], [1]]


@pytest.mark.parametrize("option", ["room", "to"])
async def test_an_event_to_one_client_reaches_that_one(edge: Edge, option: str) -> None:
    first, second = edge.member(), edge.member()
    await edge.emit("news", 1, **{option: first.connection.id})
    assert (first.sink.named("news"), second.sink.named("news")) == ([1], [])


@pytest.mark.parametrize("room", [None, "tenant:acme"])
@pytest.mark.parametrize("several", [False, True])
async def test_an_event_passes_over_those_it_is_told_to(edge: Edge, room: str | None, several: bool) -> None:  # noqa: FBT001  # a case
    skipped, other = edge.member(), edge.member()
    skip_sid = [skipped.connection.id, "gone"] if several else skipped.connection.id
    await edge.emit("news", 1, room=room, skip_sid=skip_sid)
    assert (skipped.sink.named("news"), other.sink.named("news")) == ([], [1])


async def test_a_price_passes_over_those_it_is_told_to(edge: Edge) -> None:
    skipped, other = edge.member(), edge.member()
    for client in (skipped, other):
        client.subscribe("A")
    await edge.emit("price", {"n": 1}, room="symbol:A", skip_sid=skipped.connection.id)
    assert (skipped.sink.named("price"), other.sink.named("price")) == ([], [{"n": 1}])


async def test_an_event_to_several_rooms_reaches_the_members_of_each(edge: Edge) -> None:
    clients = [edge.member(), edge.member("rival"), edge.member("third")]
    await edge.emit("news", 1, room=["tenant:acme", "tenant:rival", "no such room"])
    assert [len(client.sink.named("news")) for client in clients] == [1, 1, 0]


async def test_a_member_of_two_of_the_rooms_receives_an_event_once(edge: Edge) -> None:
    client = edge.member()
    await edge.manager.enter_room(client.connection.id, NAMESPACE, "vip")
    await edge.emit("news", 1, room=["tenant:acme", "vip", client.connection.id])
    assert client.sink.named("news") == [1]


async def test_a_price_to_the_room_of_a_symbol_is_conflated(edge: Edge) -> None:
    client = edge.member()
    client.subscribe("A")
    edge.flush()
    client.sink.full = True
    for number in range(5):
        await edge.emit("price", {"n": number}, room="symbol:A")
    client.sink.full = False
    edge.node.resume(client.connection)
    edge.flush()
    assert client.sink.named("price") == [{"n": 4}]


@pytest.mark.parametrize(
    ("event", "room"), [("price", "tenant:acme"), ("note", "symbol:A"), ("news", "tenant:acme")]
)
async def test_every_other_event_is_kept_and_in_order(edge: Edge, event: str, room: str) -> None:
    client = edge.member()
    client.subscribe("A")
    client.sink.full = True
    for number in range(5):
        await edge.emit(event, number, room=room)
    client.sink.full = False
    edge.node.resume(client.connection)
    edge.flush()
    assert client.sink.named(event) == list(range(5))


@pytest.mark.parametrize(
    ("data", "arguments"),
    [(None, []), ((), []), ((1, "two"), [1, "two"]), ([1, 2], [1, 2]), (({"a": 1},), {"a": 1}), (0, 0)],
)
async def test_a_tuple_is_several_arguments_and_anything_else_is_one(
    edge: Edge, data: object, arguments: object
) -> None:
    client = edge.member()
    await edge.emit("news", data)
    assert client.sink.events == [("news", arguments)]


@pytest.mark.parametrize("data", [object(), b"bytes"])
async def test_a_payload_without_a_form_in_json_is_the_callers_fault(edge: Edge, data: object) -> None:
    client = edge.member()
    with pytest.raises(InvalidMessageError):
        await edge.emit("news", data, room="tenant:acme")
    await edge.emit("news", 1, room="tenant:acme")
    assert client.sink.named("news") == [1]


async def test_a_name_without_a_form_in_json_does_not_cost_others_their_prices(edge: Edge) -> None:
    """Such a name can come from a back end outside."""
    first, second = edge.member(), edge.member()
    second.subscribe("A")
    edge.flush()
    with pytest.raises(InvalidMessageError):
        await edge.server.emit("\ud800", 1, room=first.connection.id, namespace=NAMESPACE)
    edge.publish("A", 5)
    edge.flush()
    assert second.prices() == [5]


async def test_other_namespaces_have_nobody(edge: Edge) -> None:
    client = edge.member()
    await edge.server.emit("news", 1, room="tenant:acme")
    edge.flush()
    assert client.sink.events == []
    assert list(edge.manager.get_participants("/", None)) == []
    assert not edge.manager.is_connected(client.connection.id, "/")
    with pytest.raises(ValueError, match="not connected"):
        await edge.manager.enter_room(client.connection.id, "/", "vip")


async def test_the_answer_of_a_client_reaches_the_callback(edge: Edge) -> None:
    answers: list[tuple[Any, ...]] = []
    client, other = edge.member(), edge.member()
    await edge.emit(
        "ask", {"x": 1}, room=client.connection.id, callback=lambda *answer: answers.append(answer)
    )
    (packet,) = client.sink.packets
    assert packet == '42/market-data,1["ask",{"x":1}]'
    assert other.sink.packets == []
    edge.sockets[client.connection.id].receive('43/market-data,1["yes",2]')
    assert await drained(answers) == [("yes", 2)]


async def drained(answers: list[Any]) -> list[Any]:
    """What came, once the call of the client has been carried out."""
    for _ in range(5):
        await asyncio.sleep(0)
    return answers


async def test_a_call_is_answered_by_the_client(edge: Edge) -> None:
    """`call` of python-socketio stands on the callback."""
    client = edge.member()
    waiting = asyncio.ensure_future(
        edge.server.call("ask", 1, sid=client.connection.id, namespace=NAMESPACE, timeout=5)
    )
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    edge.flush()
    edge.sockets[client.connection.id].receive('43/market-data,1["yes"]')
    assert await waiting == "yes"


async def test_nothing_is_kept_of_a_client_that_is_gone(edge: Edge) -> None:
    client = edge.member()
    sid = client.connection.id
    await edge.emit("ask", 1, room=sid, callback=print)
    edge.sockets[sid].gone()
    assert (edge.manager.members, edge.manager.callbacks) == ({}, {})
    assert edge.manager.sid_from_eio_sid(edge.sockets[sid].sid, NAMESPACE) is None
    assert len(edge.node.hub) == 0


async def test_rooms_are_entered_listed_left_and_closed(edge: Edge) -> None:
    first, second = edge.member(), edge.member()
    ids = [first.connection.id, second.connection.id]
    for sid in ids:
        await edge.server.enter_room(sid, "vip", namespace=NAMESPACE)
    assert sorted(edge.server.rooms(ids[0], namespace=NAMESPACE)) == ["tenant:acme", "vip"]
    assert [sid for sid, _ in edge.manager.get_participants(NAMESPACE, "vip")] == ids
    await edge.server.leave_room(ids[0], "vip", namespace=NAMESPACE)
    await edge.emit("news", 1, room="vip")
    assert (first.sink.named("news"), second.sink.named("news")) == ([], [1])
    await edge.server.close_room("vip", namespace=NAMESPACE)
    assert "vip" not in edge.node.hub


async def test_the_two_names_of_a_client_lead_to_each_other(edge: Edge) -> None:
    client = edge.member()
    sid = client.connection.id
    secret = edge.manager.eio_sid_from_sid(sid, NAMESPACE)
    assert secret == f"secret of {sid}"
    assert edge.manager.sid_from_eio_sid(secret, NAMESPACE) == sid
    assert edge.manager.eio_sid_from_sid("nobody", NAMESPACE) is None


async def test_the_application_can_disconnect_a_client(edge: Edge) -> None:
    client, other = edge.member(), edge.member()
    await edge.server.disconnect(client.connection.id, namespace=NAMESPACE)
    edge.flush()
    assert client.sink.packets == ["41/market-data,"]
    assert client.sink.closed == [closing.DISCONNECTED]
    assert other.sink.closed == []
