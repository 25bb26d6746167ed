"""What clients are told of prices while nobody knows how fresh they are."""

from typing import cast

import pytest

from marketstream.bus.client import Client
from marketstream.bus.freshness import Freshness
from marketstream.bus.last_values import LastValues
from marketstream.bus.pulse import PulseWatch
from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import Status
from marketstream.wire import messages
from marketstream.wire.json import loads
from tests.support.builders import best_price
from tests.support.clock import FakeClock


class Told:
    """One process that watches A, and what its clients were told of it."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.pulse = PulseWatch(cast("Client", None), clock, 1, 1.0)
        self.last_values = LastValues()
        self.last_values.watch("A")
        self.freshness = Freshness(self.last_values, self.pulse, clock, lambda _name: 0)
        self.said: list[str] = []
        self.freshness.receive = lambda frames: self.said.extend(_in_words(frame) for frame in frames)

    def fed(self, *, fed: bool) -> None:
        """The shard has a sign of life, or has none."""
        self.pulse.silent = frozenset() if fed else frozenset({0})
        if not fed:
            self.freshness.lose_feed()


def _in_words(frame: Frame) -> str:
    body = loads(frame.body)
    return f"{body['state']} {body.get('reason', '')}".strip() if frame.event == "status" else "price"


def price(cursor: int) -> Frame:
    frame = messages.price(best_price("A", cursor))
    frame.cursor = cursor
    return frame


def live(cursor: int) -> Frame:
    frame = messages.status(Status("A", "live", "x", cursor))
    frame.cursor = cursor
    return frame


@pytest.fixture
def told() -> Told:
    """See `Told`."""
    return Told()


def test_a_state_of_a_stale_value_is_told_when_it_is_live_again(told: Told) -> None:
    """Whoever heard `live` in the middle of a doubt would not be told that it goes on."""
    told.fed(fed=False)
    told.freshness.publish([price(1), live(2)])
    assert told.said == ["stale no_feed", "price"]
    told.fed(fed=True)
    told.freshness.publish([price(3)])
    assert told.said[2:] == ["live", "price"]


def test_a_loss_of_the_bus_while_stale_leaves_clients_with_stale(told: Told) -> None:
    told.fed(fed=False)
    told.freshness.publish([price(1), live(2)])
    told.freshness.lose_bus()
    assert [said for said in told.said if said != "price"] == ["stale no_feed"]


def test_what_is_read_again_tells_no_state_that_is_stale(told: Told) -> None:
    told.fed(fed=False)
    told.freshness.refresh({(None, "A"): price(1), (None, messages.status_key("A")): live(2)})
    assert told.said == ["stale no_feed", "price"]
