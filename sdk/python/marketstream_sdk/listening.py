"""What else a client can tell of, beside quotes."""

from collections.abc import Callable

from marketstream_sdk.dispatcher import Dispatcher
from marketstream_sdk.errors import MarketDataError
from marketstream_sdk.model import Lagged, SymbolStatus
from marketstream_sdk.status import State

Remove = Callable[[], None]
"""Takes a listener away again."""


class Listening:
    """The part of a client that plain functions listen to.

    Args:
        dispatcher: Where things are told.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def on_state(self, listener: Callable[[State, MarketDataError | None], object]) -> Remove:
        """Has a plain function told of each new state and, where there is one, the error that led to it.

        Returns:
            What takes it away again; likewise for the listeners below.
        """
        return self._dispatcher.states.add(listener)

    def on_error(self, listener: Callable[[MarketDataError], object]) -> Remove:
        """Has a plain function told of what is not to be had, what the server complains of, and giving up."""
        return self._dispatcher.errors.add(listener)

    def on_status(self, listener: Callable[[SymbolStatus], object]) -> Remove:
        """Has a plain function told how far the price of each symbol can be trusted, when that changes."""
        return self._dispatcher.statuses.add(listener)

    def on_lagged(self, listener: Callable[[Lagged], object]) -> Remove:
        """Has a plain function told of values of mode `every` that were lost, here or at the server."""
        return self._dispatcher.lags.add(listener)
