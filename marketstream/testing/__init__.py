"""The contract of each port as tests, for whoever implements one: in this repository or in another package.

One module a port, in each a class `...Contract` whose tests ask for a fixture named after what is tested. An
implementation subclasses it and defines that fixture:

    from marketstream.testing.cache import CacheContract

    class TestMyCache(CacheContract):
        @pytest.fixture
        async def cache(self) -> AsyncIterator[Cache]:
            yield MyCache()

Needs pytest and pytest-asyncio with `asyncio_mode = "auto"`. Nothing that serves imports this package.
"""

from pkgutil import iter_modules

try:
    import pytest
except ModuleNotFoundError as error:
    if error.name != "pytest":
        raise
    text = "marketstream.testing is a kit for pytest: install pytest and pytest-asyncio to use it"
    raise ImportError(text) from None

# Before the first module of the kit is imported, so that a failed assertion shows its values.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))
