"""marketstream: quotes of several sources in, one best price per symbol out to every client."""

from importlib.metadata import version

__version__ = version("marketstream")
