"""The command `publish`: sends prices from a pipe to a running server, and says which lines were no good."""

from marketstream.publish.line import parse_line
from marketstream.publish.pipe import Tally, publish

__all__ = ["Tally", "parse_line", "publish"]
