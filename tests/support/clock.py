"""Time of the test kit, under the name that the tests of this repository know it by."""

from marketstream.testing.clock import FakeClock, PatientClock

__all__ = ["FakeClock", "PatientClock"]
