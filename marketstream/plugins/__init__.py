"""Plug points: where a package may add a bus, a feed, a provider or a cache by a name of its own.

`registry` finds them, and one module for each point says what its factory is given and must return. What
stands here may be imported by other packages; see docs/plugins.md.
"""
