"""Run the command line as `python -m marketstream`."""

from marketstream.cli import main

main()
