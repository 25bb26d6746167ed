"""Decide when to take the lease and whether the term goes on; no I/O.

`coordination.lease` asks Redis and does what is decided here.
"""

from typing import Literal

LOOKS = 3
"""Times in a row that a lease must be found free before it is taken from somebody who may be alive."""

Renewal = Literal["kept", "new", "lost"]
"""What became of a term: it goes on, the same holder begins another one, or it is over."""


class LeaseState:
    """See the module.

    Attributes:
        term: The term that this process has begun; empty for none.
        serving: Whether it leads: it has taken over what was published before.
    """

    def __init__(self) -> None:
        self.term = ""
        self.serving = False
        self._free = 0
        self._ever_held = False

    def looked(self, *, held: bool, ever_held: bool) -> bool:
        """Note what was found, and return whether the lease may be taken.

        A Redis that comes back has lost the lease of a holder that is alive and will renew it in a moment:
        only one that was never held is taken at first sight.

        Args:
            held: Whether somebody holds the lease.
            ever_held: Whether Redis knows of any term.
        """
        if held:
            self._free, self._ever_held = 0, True
            return False
        self._free += 1
        return self._free >= LOOKS or not (self._ever_held or ever_held)

    def unanswered(self) -> None:
        """Note that Redis did not answer: what was found free before may be held by now."""
        self._free = 0

    def begin(self, term: str) -> None:
        """Begin a term; also one that follows on one's own."""
        self.term = term

    def end(self) -> None:
        """End the term; the next one is somebody else's unless they do not want it."""
        self.term = ""
        self.serving = False
        self._free, self._ever_held = 0, True

    def renewed(self, answer: str, *, fenced: bool) -> Renewal:
        """Return what an answer means to the term.

        Args:
            answer: The term by which Redis knows this process; empty when the lease is another's, or was.
            fenced: Whether Redis refused what was published in the term.
        """
        if not answer:
            return "lost"
        # Redis lost its memory, and nobody was faster: the holder is the same, its term a new one.
        return "kept" if answer == self.term and not fenced else "new"
