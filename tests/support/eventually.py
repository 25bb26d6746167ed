"""Waiting of the test kit, under the name that the tests of this repository know it by."""

from marketstream.testing.eventually import PAUSE, TIME_SCALE, eventually, scaled, wait_until

__all__ = ["PAUSE", "TIME_SCALE", "eventually", "scaled", "wait_until"]
