from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from marketstream.core.delivery.frame import Frame
from marketstream.core.delivery.hub import Hub
from marketstream.core.delivery.outbox import Lane, Outbox

TENANTS = ["acme", "globex"]
ROOMS = st.sampled_from(["r", "s"])
CLIENTS = st.integers(0, 4)
AUDIENCES = st.sampled_from([None, *TENANTS, "nobody"])


class HubMachine(RuleBasedStateMachine):
    """Under any history, a frame reaches exactly the members that may see it, each once."""

    def __init__(self) -> None:
        super().__init__()
        self.hub: Hub[int] = Hub()
        self.boxes = [
            Outbox(number, tenant=TENANTS[number % 2], control_capacity=1_000) for number in range(5)
        ]
        self.lanes: dict[tuple[str, int], Lane | None] = {}
        self.serial = 0

    def frame(self, key: str | None, tenant: str | None, withheld: frozenset[str] = frozenset()) -> Frame:
        """A frame with a number of its own."""
        self.serial += 1
        return Frame("price", b"%d" % self.serial, key=key, tenant=tenant, withheld=withheld)

    def audience(self, room: str, tenant: str | None) -> set[int]:
        """Who may hear a frame, by the model."""
        return {n for r, n in self.lanes if r == room and tenant in (None, self.boxes[n].tenant)}

    @rule(room=ROOMS, number=CLIENTS, special=st.booleans())
    def join(self, room: str, number: int, special: bool) -> None:  # noqa: FBT001  # drawn
        """A client joins, with or without a lane."""
        lane = Lane(room, lossless=True) if special else None
        self.lanes[room, number] = lane
        self.hub.join(room, self.boxes[number], lane)

    @rule(room=ROOMS, number=CLIENTS)
    def leave(self, room: str, number: int) -> None:
        """A client leaves, whether it was there or not."""
        self.lanes.pop((room, number), None)
        self.hub.leave(room, self.boxes[number])

    @rule(room=ROOMS, tenant=AUDIENCES, withheld=st.frozensets(st.sampled_from(TENANTS)))
    def deliver(self, room: str, tenant: str | None, withheld: frozenset[str]) -> None:
        """A price comes; only one for everybody is ever withheld from some."""
        withheld = withheld if tenant is None else frozenset()
        frame = self.frame(room, tenant, withheld)
        expected = {n for n in self.audience(room, tenant) if self.boxes[n].tenant not in withheld}
        before = self.hub.offered
        assert self.hub.deliver(room, frame) == len(expected)
        assert self.hub.offered - before == len(expected)
        for box in self.boxes:
            lane = self.lanes.get((room, box.owner))
            in_slot = box.slots.get(room) is frame
            in_lane = lane is not None and list(lane.waiting).count(frame) == 1
            assert (in_slot, in_lane) == (
                box.owner in expected and lane is None,
                box.owner in expected and lane is not None,
            )
            assert box.dirty or box.owner not in expected

    @rule(room=ROOMS, tenant=AUDIENCES)
    def post(self, room: str, tenant: str | None) -> None:
        """A frame comes that replaces its like and is no price."""
        frame = self.frame("status", tenant)
        expected = self.audience(room, tenant)
        assert self.hub.post(room, frame) == len(expected)
        assert {box.owner for box in self.boxes if box.slots.get("status") is frame} == expected

    @rule(room=ROOMS, tenant=AUDIENCES, skip=st.frozensets(CLIENTS))
    def broadcast(self, room: str, tenant: str | None, skip: frozenset[int]) -> None:
        """An event comes that must not be replaced."""
        frame = self.frame(None, tenant)
        expected = self.audience(room, tenant) - skip
        assert self.hub.broadcast(room, frame, skip) == len(expected)
        assert {box.owner for box in self.boxes if box.control.count(frame) == 1} == expected

    @rule()
    def flush(self) -> None:
        """The flusher takes everything."""
        dirty, self.hub.dirty = self.hub.dirty, []
        for box in dirty:
            box.dirty = False
            box.take(0)

    @invariant()
    def dirty_once(self) -> None:
        """The list of the flusher holds exactly the dirty ones, each once."""
        named = [box.owner for box in self.hub.dirty]
        assert sorted(named) == [box.owner for box in self.boxes if box.dirty]

    @invariant()
    def same_rooms(self) -> None:
        """Rooms and members are those of the model; no empty room is left."""
        for room in ("r", "s"):
            members = self.hub.members(room)
            assert sorted(box.owner for box in members) == sorted(n for r, n in self.lanes if r == room)
            assert (room in self.hub) == bool(members)
        assert len(self.hub) == len({room for room, _ in self.lanes})
        for box in self.boxes:
            assert sorted(self.hub.rooms_of(box)) == sorted(r for r, n in self.lanes if n == box.owner)


TestHub = HubMachine.TestCase
