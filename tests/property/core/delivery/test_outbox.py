from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from marketstream.core.delivery.frame import Frame
from marketstream.core.delivery.outbox import LANE_BATCH, SLACK, Lane, Outbox

LANE, CONTROL = 4, 5
SLOT_KEYS = ["A", "B", "C"]
EVERY, PACED, PACED_EVERY = "E", "P", "Q"
LANE_KEYS = [EVERY, PACED, PACED_EVERY]


class OutboxMachine(RuleBasedStateMachine):
    """Whatever happens to an outbox, it stays within its bounds and loses nothing without saying so."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.serial = 0
        self.box: Outbox[str] = Outbox("me", control_capacity=CONTROL)
        self.lanes = {
            EVERY: Lane(EVERY, lossless=True, capacity=LANE),
            PACED: Lane(PACED, lossless=False, max_rate=2, capacity=LANE),
            PACED_EVERY: Lane(PACED_EVERY, lossless=True, max_rate=2, capacity=LANE),
        }
        for lane in self.lanes.values():
            self.box.open_lane(lane)
        self.newest: dict[str, Frame] = {}
        self.offered: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.seen: dict[str, int] = {}
        self.accepted: list[Frame] = []

    def frame(self, key: str | None) -> Frame:
        """A frame with a number of its own."""
        self.serial += 1
        return Frame("price", b"%d" % self.serial, key=key)

    def missed(self) -> int:
        """Values lost and not yet told."""
        return sum(lane.missed for lane in self.lanes.values())

    @rule(key=st.sampled_from(SLOT_KEYS))
    def price(self, key: str) -> None:
        """A newer price of a key."""
        self.newest[key] = self.box.slots[key] = self.frame(key)

    @rule(key=st.sampled_from(LANE_KEYS), count=st.integers(1, LANE * 2))
    def burst(self, key: str, count: int) -> None:
        """Values of a symbol with a lane."""
        for _ in range(count):
            frame = self.frame(key)
            self.lanes[key].offer(frame)
            if self.lanes[key].lossless:
                self.offered[key] += 1
            else:
                self.newest[key] = frame

    @rule()
    def message(self) -> None:
        """A message that must not be replaced."""
        frame = self.frame(None)
        taken = self.box.push(frame)
        assert taken == (len(self.accepted) < CONTROL)
        if taken:
            self.accepted.append(frame)

    @rule(key=st.sampled_from([*SLOT_KEYS, *LANE_KEYS]))
    def supersede(self, key: str) -> None:
        """A snapshot of a key is about to follow."""
        before, waited, missed = len(self.box), self.box.replaceable(), self.missed()
        left = self.box.supersede(key)
        assert self.box.replaceable() == waited - left - (self.missed() - missed)
        assert len(self.box) <= before
        self.newest.pop(key, None)

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 3.0]))
    def take(self, seconds: float) -> None:
        """Some time later the flusher comes by."""
        self.now += seconds
        frames, lagging = self.box.take(self.now)
        for lane in lagging:
            assert lane.lossless
            self.told[lane.key] += lane.missed
            lane.missed = 0
        assert [frame for frame in frames if frame.key is None] == self.accepted
        self.accepted = []
        for frame in frames:
            if frame.key in (EVERY, PACED_EVERY):
                assert int(frame.body) > self.seen.get(frame.key, 0)
                self.seen[frame.key] = int(frame.body)
                self.told[frame.key] += 1
            elif frame.key is not None:
                assert frame is self.newest.pop(frame.key)
        assert not self.box.slots
        for key in (EVERY, PACED_EVERY):
            assert self.told[key] + len(self.lanes[key].waiting) == self.offered[key]
        if any(lane.waiting for lane in self.lanes.values()):
            assert self.box.wake_at is not None
            assert self.box.wake_at >= self.now

    @rule()
    def drain(self) -> None:
        """When nothing more comes, the last value of every key arrives."""
        for _ in range(2 * LANE + 2):
            self.take(0.6)
        assert not self.newest
        assert len(self.box) == 0

    @invariant()
    def bounded(self) -> None:
        """No more than one frame a key, a lane's capacity, and the room for ordered messages."""
        assert len(self.box.slots) <= len(SLOT_KEYS)
        assert len(self.lanes[PACED].waiting) <= 1
        assert all(len(lane.waiting) <= LANE for lane in self.lanes.values())
        assert len(self.box.control) <= CONTROL + LANE * len(self.lanes)

    @invariant()
    def counted(self) -> None:
        """The length is what waits."""
        waiting = sum(len(lane.waiting) for lane in self.lanes.values())
        assert len(self.box) == len(self.box.control) + len(self.box.slots) + waiting


TestOutbox = OutboxMachine.TestCase


@given(
    st.sampled_from([0.5, 1, 3, 10]),
    st.lists(st.sampled_from([0.0, 0.01, 0.2, 1.0, 7.0]), min_size=1, max_size=60),
)
def test_a_paced_lane_never_gives_more_than_its_rate(rate: float, pauses: list[float]) -> None:
    """Looked at whenever: n values need n - 1 intervals, less the slack of the first."""
    lane = Lane("L", lossless=True, max_rate=rate)
    now, taken = 100.0, []
    for pause in pauses:
        now += pause
        lane.offer(Frame("price", b"", key="L"))
        taken += [now] * len(lane.take(now, LANE_BATCH))
    for first, opened in enumerate(taken):
        for last, closed in enumerate(taken[first:], first):
            assert last - first + 1 <= 1 + SLACK + rate * (closed - opened) + 1e-6


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(1, 8))
def test_what_mode_every_delivers_and_what_it_reports_missing_is_all_there_was(
    bursts: list[int], capacity: int
) -> None:
    lane = Lane("L", lossless=True, capacity=capacity)
    box: Outbox[str] = Outbox("me")
    box.open_lane(lane)
    offered = delivered = 0
    for size in [*bursts, 50]:
        for _ in range(size):
            lane.offer(Frame("price", b"", key="L"))
        offered += size
        delivered += len(box.take(0)[0]) if size != 1 else 0
    delivered += len(box.take(0)[0])
    assert delivered + lane.missed == offered
