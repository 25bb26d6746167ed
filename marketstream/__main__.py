"""Lets `python -m marketstream` do what the console script does."""

from marketstream.cli import main

main()
