import pytest

from marketstream.core.delivery.frame import Frame
from marketstream.core.delivery.hub import Hub
from marketstream.core.delivery.outbox import Lane, Outbox


def price(tenant: str | None = None, key: str = "A") -> Frame:
    return Frame("price", b"{}", key=key, symbol=key, tenant=tenant)


def notice(tenant: str | None = None) -> Frame:
    return Frame("notice", b"{}", tenant=tenant)


@pytest.fixture
def hub() -> Hub[str]:
    """An empty hub."""
    return Hub()


def box(name: str = "me", tenant: str = "acme", capacity: int = 10) -> Outbox[str]:
    return Outbox(name, tenant=tenant, control_capacity=capacity)


def test_a_price_reaches_every_member_of_its_room_and_nobody_else(hub: Hub[str]) -> None:
    first, second, other = box(), box(), box()
    hub.join("r", first)
    hub.join("r", second)
    hub.join("s", other)
    frame = price()
    assert hub.deliver("r", frame) == 2
    assert first.slots == second.slots == {"A": frame}
    assert other.slots == {}


def test_a_frame_to_a_room_that_nobody_is_in_goes_nowhere(hub: Hub[str]) -> None:
    assert (hub.deliver("r", price()), hub.post("r", price()), hub.broadcast("r", notice())) == (0, 0, 0)
    assert (hub.offered, hub.dirty) == (0, [])


def test_the_newest_of_a_key_replaces_the_one_that_waits(hub: Hub[str]) -> None:
    member = box()
    hub.join("r", member)
    newest = price()
    for frame in (price(), price(), newest):
        hub.deliver("r", frame)
    assert member.slots == {"A": newest}
    assert hub.offered == 3


def test_an_outbox_is_named_dirty_once(hub: Hub[str]) -> None:
    member = box()
    for room in ("r", "s"):
        hub.join(room, member)
        hub.deliver(room, price(key=room))
    hub.broadcast("r", notice())
    hub.mark(member)
    assert hub.dirty == [member]


def test_joining_twice_delivers_once(hub: Hub[str]) -> None:
    member = box()
    hub.join("r", member)
    hub.join("r", member)
    assert hub.deliver("r", price()) == 1
    assert hub.members("r") == [member]


def test_a_price_is_withheld_from_tenants_that_have_a_newer_one_of_their_own(hub: Hub[str]) -> None:
    plain, paced, other = box(), box(), box(tenant="rival")
    lane = Lane("A", lossless=True)
    hub.join("r", plain)
    hub.join("r", paced, lane)
    hub.join("r", other)
    frame = Frame("price", b"{}", key="A", symbol="A", withheld=frozenset({"acme"}))
    assert hub.deliver("r", frame) == 1
    assert (len(plain), list(lane.waiting), other.slots) == (0, [], {"A": frame})
    assert hub.offered == 1


@pytest.mark.parametrize("twice", [False, True])
def test_a_frame_for_one_tenant_reaches_its_members_only(hub: Hub[str], twice: bool) -> None:  # noqa: FBT001  # a case
    """Whether or not the room has heard such a frame before."""
    ours, theirs, paced = box(), box(tenant="rival"), box()
    hub.join("r", ours)
    if twice:
        hub.deliver("r", price("nobody"))
    hub.join("r", theirs)
    hub.join("r", paced, Lane("A", lossless=True))
    assert hub.deliver("r", price("acme")) == 2
    assert hub.post("r", price("acme", "status")) == 2
    assert hub.broadcast("r", notice("acme")) == 2
    assert len(theirs) == 0


def test_a_member_that_left_receives_nothing_more_also_of_its_tenant(hub: Hub[str]) -> None:
    member, stays = box(), box()
    for each in (member, stays):
        hub.join("r", each)
    hub.deliver("r", price("acme"))
    member.slots.clear()
    hub.leave("r", member)
    assert hub.deliver("r", price("acme")) == 1
    assert hub.deliver("r", price()) == 1
    assert len(member) == 0


def test_a_member_with_a_lane_gets_prices_there_and_other_frames_in_its_slots(hub: Hub[str]) -> None:
    member, lane = box(), Lane("A", lossless=True)
    hub.join("r", member, lane)
    first, second, status = price(), price(), price(key="status A")
    assert [hub.deliver("r", first), hub.deliver("r", second), hub.post("r", status)] == [1, 1, 1]
    assert list(lane.waiting) == [first, second]
    assert member.slots == {"status A": status}


def test_joining_again_changes_only_how_values_are_wanted(hub: Hub[str]) -> None:
    member, first, second = box(), Lane("A", lossless=True), Lane("A", lossless=True)
    for lane, waiting in ((None, 0), (first, 1), (second, 1), (None, 1)):
        hub.join("r", member, lane)
        assert hub.deliver("r", price()) == 1
        assert hub.members("r") == [member]
        assert len(second.waiting if lane is second else first.waiting) == waiting
    assert member.slots


def test_a_room_without_members_is_gone(hub: Hub[str]) -> None:
    plain, special = box(), box()
    hub.join("r", plain)
    hub.join("r", special, Lane("A", lossless=True))
    assert ("r" in hub, len(hub)) == (True, 1)
    hub.leave("r", plain)
    assert "r" in hub
    hub.leave("r", special)
    assert ("r" in hub, len(hub)) == (False, 0)


def test_leaving_a_room_one_is_not_in_changes_nothing(hub: Hub[str]) -> None:
    member, stranger = box(), box()
    hub.join("r", member)
    hub.deliver("r", price("acme"))
    hub.leave("r", stranger)
    hub.leave("no such room", stranger)
    assert hub.members("r") == [member]


def test_the_rooms_of_a_member_are_known(hub: Hub[str]) -> None:
    member = box()
    hub.join("r", member)
    hub.join("s", member, Lane("s", lossless=True))
    hub.join("t", box())
    assert sorted(hub.rooms_of(member)) == ["r", "s"]


def test_a_broadcast_passes_over_those_it_is_told_to(hub: Hub[str]) -> None:
    first, second = box("first"), box("second")
    hub.join("r", first)
    hub.join("r", second)
    assert hub.broadcast("r", notice(), skip=frozenset({"first"})) == 1
    assert (len(first), len(second)) == (0, 1)


def test_broadcasts_are_kept_in_order_and_none_replaces_another(hub: Hub[str]) -> None:
    member = box()
    hub.join("r", member)
    sent = [notice() for _ in range(3)]
    for frame in sent:
        hub.broadcast("r", frame)
    assert member.control == sent
    assert hub.offered == 0


def test_who_has_no_room_for_a_message_is_named_and_costs_the_others_nothing(hub: Hub[str]) -> None:
    full, fine = box("full", capacity=1), box("fine")
    hub.join("r", full)
    hub.join("r", fine)
    for _ in range(2):
        hub.broadcast("r", notice())
    assert hub.overflowed == ["full"]
    assert len(fine) == 2


def test_one_client_can_be_offered_a_frame_that_replaces_its_like(hub: Hub[str]) -> None:
    member = box()
    newest = price(key="heartbeat")
    hub.offer(member, price(key="heartbeat"))
    hub.offer(member, newest)
    assert member.slots == {"heartbeat": newest}
    assert (hub.offered, hub.dirty) == (2, [member])


def test_the_list_of_members_is_not_touched_by_later_changes(hub: Hub[str]) -> None:
    member = box()
    hub.join("r", member)
    members = hub.members("r")
    hub.leave("r", member)
    assert members == [member]


def test_a_rooms_first_member_and_its_last_are_told_and_nobody_between() -> None:
    told: list[str] = []
    hub: Hub[str] = Hub(lambda name: told.append(f"+{name}"), lambda name: told.append(f"-{name}"))
    first, second = box(), box("other")
    hub.join("r", first)
    hub.join("r", second, Lane("A", lossless=True))
    hub.join("r", second)
    hub.leave("r", first)
    assert told == ["+r"]
    hub.leave("r", second)
    hub.leave("r", second)
    assert told == ["+r", "-r"]


def test_a_room_that_is_held_is_open_for_who_comes_and_gone_if_nobody_does() -> None:
    """It opens once and closes once, however often it is held and joined meanwhile."""
    told: list[str] = []
    hub: Hub[str] = Hub(lambda name: told.append(f"+{name}"), lambda name: told.append(f"-{name}"))
    member = box()
    hub.hold(["a", "b"])
    hub.hold(["a"])
    hub.join("a", member)
    hub.leave("a", member)
    hub.release(["a"])
    assert ("a" in hub, told) == (True, ["+a", "+b"])
    hub.join("b", member)
    hub.release(["a", "b"])
    assert ("a" in hub, "b" in hub, told) == (False, True, ["+a", "+b", "-a"])
    hub.leave("b", member)
    assert told == ["+a", "+b", "-a", "-b"]


def test_a_price_for_a_room_that_is_only_held_goes_nowhere(hub: Hub[str]) -> None:
    hub.hold(["r"])
    assert (hub.deliver("r", price()), hub.offered) == (0, 0)
