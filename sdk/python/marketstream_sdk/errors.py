"""Everything that can go wrong by name.

    MarketDataError                    code
    +-- ConnectionFailedError          CONNECTION_FAILED   gave up; `attempts` and `last` say why
    +-- ConnectionLostError            CONNECTION_LOST     it broke, or could not be made; tried again
    +-- AuthenticationError            UNAUTHORIZED, AUTH_FAILED or TOKEN_EXPIRED
    +-- NotConnectedError              NOT_CONNECTED       the call needs a connection, and there is none now
    +-- RequestError                   the server's own code, such as UNKNOWN_SYMBOL
    |   +-- SubscriptionError          SUBSCRIPTION        one symbol or channel is not to be had
    |   +-- EventSubscriptionError     the server's, or CONFLICT   events are not to be had, or not like that
    |   +-- RateLimitedError           RATE_LIMITED        asked too often
    |   +-- NoAnswerError              TIMEOUT             one call was not answered in time
    +-- InvalidMessageError            INVALID_MESSAGE     the server said something that makes no sense
    +-- InvalidSymbolError             INVALID_SYMBOL      also a ValueError
    +-- UnsupportedError               UNSUPPORTED         this transport cannot do that

No text holds a token.
"""


class MarketDataError(Exception):
    """Root of the tree.

    Args:
        text: What happened, for people.
        code: A finer code than that of the class, for programs.

    Attributes:
        code: What happened, for programs.
    """

    code: str = "MARKET_DATA"

    def __init__(self, text: str, *, code: str | None = None) -> None:
        super().__init__(text)
        if code is not None:
            self.code = code


class ConnectionLostError(MarketDataError):
    """There is no connection any more, or there was none to be had; a client tries again.

    Attributes:
        retry_after: Seconds that the server asks to wait at least; 0 when it does not ask.
    """

    code = "CONNECTION_LOST"

    def __init__(self, text: str, *, code: str | None = None, retry_after: float = 0.0) -> None:
        super().__init__(text, code=code)
        self.retry_after = retry_after


class ConnectionFailedError(MarketDataError):
    """Every attempt that was allowed has failed; the client has given up.

    Attributes:
        attempts: How often it was tried again.
        last: What went wrong the last time.
    """

    code = "CONNECTION_FAILED"

    def __init__(self, attempts: int, last: MarketDataError) -> None:
        super().__init__(f"gave up after {attempts} attempts; the last one: {last}")
        self.attempts = attempts
        self.last = last


class AuthenticationError(MarketDataError):
    """The server does not accept the token, and there is no other one to try."""

    code = "AUTH_FAILED"


class NotConnectedError(MarketDataError):
    """What was asked for needs a connection, and there is none at this moment."""

    code = "NOT_CONNECTED"


class RequestError(MarketDataError):
    """The server does not do what it was asked; `code` is the server's."""

    code = "REQUEST"


class SubscriptionError(RequestError):
    """A symbol or channel is not to be had, and no longer asked for.

    Attributes:
        symbol: The symbol, or the name of the channel.
        reason: Why, such as `not entitled`, `invalid symbol` or `max subscriptions reached`.
    """

    code = "SUBSCRIPTION"

    def __init__(self, symbol: str, reason: str) -> None:
        super().__init__(f"{symbol}: {reason}")
        self.symbol = symbol
        self.reason = reason


class EventSubscriptionError(RequestError):
    """A subscription to events is not to be had, and no longer asked for.

    `code` is the server's, such as `INVALID_MESSAGE` or `SUBSCRIPTION_LIMIT`; or `CONFLICT`, when the name is
    in use here with another filter.

    Attributes:
        name: The name of the subscription.
        reason: Why, for people.
    """

    def __init__(self, name: str, reason: str, *, code: str) -> None:
        super().__init__(f"{name}: {reason}", code=code)
        self.name = name
        self.reason = reason


class RateLimitedError(RequestError):
    """The server was asked more often than the plan allows.

    Attributes:
        retry_after: Seconds until the next call is taken.
    """

    code = "RATE_LIMITED"

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"rate limit exceeded; the next call is taken in {retry_after:g} s")
        self.retry_after = retry_after


class NoAnswerError(RequestError):
    """One call was not answered in time; the connection it was made over is there all the same."""

    code = "TIMEOUT"


class InvalidMessageError(MarketDataError):
    """What the server said is not of the shape that the protocol promises."""

    code = "INVALID_MESSAGE"


class InvalidSymbolError(MarketDataError, ValueError):
    """What was given as a symbol cannot be one."""

    code = "INVALID_SYMBOL"


class UnsupportedError(MarketDataError):
    """The chosen transport cannot do what was asked."""

    code = "UNSUPPORTED"
