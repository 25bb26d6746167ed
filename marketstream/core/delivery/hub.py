"""Keep rooms and their members, and fan one frame out to a room.

Delivery is a plain loop over outboxes. It cannot block, starts no task and encodes nothing; an outbox
that gets its first frame is put on the `dirty` list once, for the flusher to find.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Generic, TypeVar

from marketstream.core.delivery.frame import Frame
from marketstream.core.delivery.outbox import Lane, Outbox

OwnerT = TypeVar("OwnerT")


class Room(Generic[OwnerT]):
    """The members of one room.

    Attributes:
        plain: Members that want the newest value, in order of joining.
        special: Members with a lane of their own.
        by_tenant: Members of each tenant; built when the room first hears a frame for one tenant only.
    """

    __slots__ = ("by_tenant", "plain", "special")

    def __init__(self) -> None:
        self.plain: dict[Outbox[OwnerT], None] = {}
        self.special: dict[Outbox[OwnerT], Lane] = {}
        self.by_tenant: dict[str, dict[Outbox[OwnerT], None]] | None = None

    def __len__(self) -> int:
        return len(self.plain) + len(self.special)

    def members(self) -> Iterator[Outbox[OwnerT]]:
        """Yield every member, plain ones first."""
        yield from self.plain
        yield from self.special

    def plain_of(self, tenant: str) -> Collection[Outbox[OwnerT]]:
        """Plain members of one tenant."""
        if self.by_tenant is None:
            self.by_tenant = {}
            for outbox in self.plain:
                self.by_tenant.setdefault(outbox.tenant, {})[outbox] = None
        return self.by_tenant.get(tenant, ())


def _ignore(_name: str) -> None:
    """Nobody asked to be told."""


class Hub(Generic[OwnerT]):
    """All rooms of one process.

    Args:
        opened: Called with the name of a room before its first member joins, or somebody holds it.
        emptied: Called with the name of a room that has no member and that nobody holds any more.

    Attributes:
        dirty: Outboxes with something to send, each once; the flusher takes the list and leaves an empty one.
        offered: Frames put into slots and lanes since the start, one per frame and member.
        overflowed: Owners whose ordered messages found no room; they must be closed.
    """

    __slots__ = ("_emptied", "_held", "_opened", "_rooms", "dirty", "offered", "overflowed")

    def __init__(
        self, opened: Callable[[str], None] = _ignore, emptied: Callable[[str], None] = _ignore
    ) -> None:
        self._opened = opened
        self._emptied = emptied
        self._rooms: dict[str, Room[OwnerT]] = {}
        self._held: dict[str, int] = {}
        self.dirty: list[Outbox[OwnerT]] = []
        self.overflowed: list[OwnerT] = []
        self.offered = 0

    def __contains__(self, room: str) -> bool:
        return room in self._rooms

    def __len__(self) -> int:
        """Return rooms with at least one member, or held for one."""
        return len(self._rooms)

    def join(self, name: str, outbox: Outbox[OwnerT], lane: Lane | None = None) -> None:
        """Make an outbox a member; joining again only changes how it wants its values."""
        room = self._rooms.get(name)
        if room is None:
            room = self._open(name)
        if lane is not None:
            self._drop_plain(room, outbox)
            room.special[outbox] = lane
            return
        room.special.pop(outbox, None)
        room.plain[outbox] = None
        if room.by_tenant is not None:
            room.by_tenant.setdefault(outbox.tenant, {})[outbox] = None

    def leave(self, name: str, outbox: Outbox[OwnerT]) -> None:
        """End a membership; a room without members that nobody holds is gone."""
        room = self._rooms.get(name)
        if room is None:
            return
        self._drop_plain(room, outbox)
        room.special.pop(outbox, None)
        if not room.plain and not room.special and name not in self._held:
            self._close(name)

    def hold(self, names: Iterable[str]) -> None:
        """Open rooms for somebody who is about to join; counted, so each call needs a `release`."""
        held, rooms = self._held, self._rooms
        for name in names:
            if name not in rooms:
                self._open(name)
            held[name] = held.get(name, 0) + 1

    def release(self, names: Iterable[str]) -> None:
        """Take one `hold` of each room back; one that nobody joined is gone."""
        held, rooms = self._held, self._rooms
        for name in names:
            if held[name] > 1:
                held[name] -= 1
                continue
            del held[name]
            if not rooms[name]:
                self._close(name)

    def members(self, name: str) -> list[Outbox[OwnerT]]:
        """Return members of a room, as a list that later changes do not touch."""
        room = self._rooms.get(name)
        return list(room.members()) if room else []

    def rooms_of(self, outbox: Outbox[OwnerT]) -> list[str]:
        """Return the names of the rooms an outbox is in.

        Looks at every room, so not for the way of a price.
        """
        return [name for name, room in self._rooms.items() if outbox in room.plain or outbox in room.special]

    def deliver(self, name: str, frame: Frame) -> int:
        """Offer a keyed frame to every member that may see it; the newest of its key wins.

        Returns:
            How many members it was offered to.
        """
        room = self._rooms.get(name)
        if room is None:
            return 0
        if frame.withheld:
            members: Collection[Outbox[OwnerT]] = [o for o in room.plain if o.tenant not in frame.withheld]
        else:
            members = room.plain if frame.tenant is None else room.plain_of(frame.tenant)
        key, dirty = frame.key, self.dirty
        assert key is not None  # noqa: S101  # a frame without a key goes through `broadcast`
        # The hottest loop of the server: one dictionary write per client and price.
        for outbox in members:
            outbox.slots[key] = frame
            if not outbox.dirty:
                outbox.dirty = True
                dirty.append(outbox)
        count = len(members)
        if room.special:
            count += self._deliver_special(room, frame)
        self.offered += count
        return count

    def post(self, name: str, frame: Frame) -> int:
        """Offer a keyed frame that is not a price (a status, a channel update) to every member."""
        room = self._rooms.get(name)
        if room is None or frame.key is None:
            return 0
        count = 0
        for outbox in room.members():
            if frame.tenant is None or frame.tenant == outbox.tenant:
                outbox.slots[frame.key] = frame
                self.mark(outbox)
                count += 1
        self.offered += count
        return count

    def broadcast(self, name: str, frame: Frame, skip: frozenset[OwnerT] = frozenset()) -> int:
        """Give an event that must not be replaced to every member of a room.

        Returns:
            How many members it went to.
        """
        room = self._rooms.get(name)
        if room is None:
            return 0
        count = 0
        for outbox in room.members():
            if outbox.owner not in skip and (frame.tenant is None or frame.tenant == outbox.tenant):
                self.send(outbox, frame)
                count += 1
        return count

    def send(self, outbox: Outbox[OwnerT], frame: Frame) -> None:
        """Give one client a message that must not be replaced."""
        if not outbox.push(frame):
            self.overflowed.append(outbox.owner)
        elif not outbox.dirty:
            outbox.dirty = True
            self.dirty.append(outbox)

    def send_first(self, outbox: Outbox[OwnerT], kind: str, frame: Frame) -> None:
        """Give one client a message that goes before all others, and replaces one of its kind."""
        outbox.put_first(kind, frame)
        self.mark(outbox)

    def offer(self, outbox: Outbox[OwnerT], frame: Frame) -> None:
        """Offer one client a keyed frame that is not a price."""
        if frame.key is not None:
            outbox.slots[frame.key] = frame
            self.offered += 1
            self.mark(outbox)

    def mark(self, outbox: Outbox[OwnerT]) -> None:
        """Note that an outbox has something to send."""
        if not outbox.dirty:
            outbox.dirty = True
            self.dirty.append(outbox)

    def _open(self, name: str) -> Room[OwnerT]:
        self._opened(name)
        room = self._rooms[name] = Room()
        return room

    def _close(self, name: str) -> None:
        del self._rooms[name]
        self._emptied(name)

    def _deliver_special(self, room: Room[OwnerT], frame: Frame) -> int:
        count = 0
        for outbox, lane in room.special.items():
            meant = outbox.tenant not in frame.withheld and frame.tenant in (None, outbox.tenant)
            if meant and not 0 < frame.cursor <= lane.since:
                lane.offer(frame)
                self.mark(outbox)
                count += 1
        return count

    @staticmethod
    def _drop_plain(room: Room[OwnerT], outbox: Outbox[OwnerT]) -> None:
        if room.plain.pop(outbox, outbox) is None and room.by_tenant is not None:
            of_tenant = room.by_tenant[outbox.tenant]
            del of_tenant[outbox]
            if not of_tenant:
                del room.by_tenant[outbox.tenant]
