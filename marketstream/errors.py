"""Define every error, with its code, its HTTP status and whether trying again helps.

    MarketstreamError
    +-- RequestError                the caller can do something about it; its text may be shown
    |   +-- InvalidMessageError     400  INVALID_MESSAGE
    |   |   +-- FutureTimeError                      a vendor's time has not come yet
    |   +-- UnknownEventError       404  UNKNOWN_EVENT
    |   +-- SubscriptionLimitError  409  SUBSCRIPTION_LIMIT
    |   +-- UnknownSymbolError      404  UNKNOWN_SYMBOL
    |   +-- NotFoundError           404  NOT_FOUND
    |   +-- LateQuoteError          409  LATE_QUOTE
    |   +-- PayloadTooLargeError    413  PAYLOAD_TOO_LARGE
    |   +-- RateLimitedError        429  RATE_LIMITED
    |   +-- ConnectionLimitError    429  CONNECTION_LIMIT
    |   +-- AuthError
    |       +-- UnauthorizedError   401  UNAUTHORIZED    no token was given
    |       +-- AuthFailedError     401  AUTH_FAILED     the token is not good
    |       +-- TokenExpiredError   401  TOKEN_EXPIRED
    |       +-- NotEntitledError    403  NOT_ENTITLED
    +-- UnavailableError            503  UNAVAILABLE     a part of the server is not able to answer now
    |   +-- AllProvidersFailedError 503  ALL_PROVIDERS_FAILED
    +-- ProviderError                    a provider gave no answer
    |   +-- ProviderTimeoutError         PROVIDER_TIMEOUT
    |   +-- ProviderUnavailableError     PROVIDER_UNAVAILABLE
    |   +-- ProviderRestingError         PROVIDER_RESTING
    |   +-- ProviderQuotaError           PROVIDER_QUOTA
    |   +-- ProviderDataError            PROVIDER_DATA
    |   +-- ProviderRefusedError         PROVIDER_REFUSED
    +-- FeedError                        a source of quotes cannot go on
    +-- FeedLostError                    a source of quotes broke off, and may come back
    +-- BusError                         frames cannot travel between processes
    +-- ConfigurationError               the server must not start like this

Edges read only the class attributes `code`, `status`, `retryable` and `public`, in one mapping
function an edge. Closing a client is not an error: see `core.delivery.closing`.
"""

from collections.abc import Sequence
from typing import ClassVar


class MarketstreamError(Exception):
    """Root of the tree; by itself an internal fault whose text stays inside."""

    code: ClassVar[str] = "INTERNAL"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    public: ClassVar[bool] = False


class RequestError(MarketstreamError):
    """A caller asked for something that cannot be done as asked."""

    code = "INVALID_MESSAGE"
    status = 400
    public = True


class InvalidMessageError(RequestError):
    """A message is not of the shape the protocol promises.

    Attributes:
        path: Where in the message the fault lies, such as `quotes[3].bid`; empty for the whole.
    """

    def __init__(self, text: str, *, path: str = "") -> None:
        super().__init__(text)
        self.path = path


class FutureTimeError(InvalidMessageError):
    """A vendor or publisher dates a message later than it can be: one of the two clocks is wrong.

    Attributes:
        at_ms: That time, epoch milliseconds.
    """

    def __init__(self, text: str, at_ms: int, *, path: str = "") -> None:
        super().__init__(text, path=path)
        self.at_ms = at_ms


class SubscriptionLimitError(RequestError):
    """A user holds as many subscriptions to events as may be."""

    code = "SUBSCRIPTION_LIMIT"
    status = 409


class UnknownEventError(RequestError):
    """A client named an event that the protocol does not have."""

    code = "UNKNOWN_EVENT"
    status = 404


class UnknownSymbolError(RequestError):
    """Nothing is known of a symbol that is otherwise well formed."""

    code = "UNKNOWN_SYMBOL"
    status = 404


class NotFoundError(RequestError):
    """There is nothing of the name that was given."""

    code = "NOT_FOUND"
    status = 404


class LateQuoteError(RequestError):
    """A value is older than one already taken from the same source for the same symbol."""

    code = "LATE_QUOTE"
    status = 409


class PayloadTooLargeError(RequestError):
    """A body or message is larger than the edge takes."""

    code = "PAYLOAD_TOO_LARGE"
    status = 413


class RateLimitedError(RequestError):
    """A caller asks more often than its plan allows.

    Attributes:
        retry_after_ms: Milliseconds until the next call can be taken.
    """

    code = "RATE_LIMITED"
    status = 429
    retryable = True

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__("Rate limit exceeded")
        self.retry_after_ms = retry_after_ms


class ConnectionLimitError(RequestError):
    """A user holds as many connections as the plan allows."""

    code = "CONNECTION_LIMIT"
    status = 429
    retryable = True


class AuthError(RequestError):
    """Who the caller is, or what it may do, stands in the way."""

    code = "AUTH_FAILED"
    status = 401


class UnauthorizedError(AuthError):
    """No token was given at all."""

    code = "UNAUTHORIZED"


class AuthFailedError(AuthError):
    """The token cannot be trusted; the text never says more than why in general."""


class TokenExpiredError(AuthError):
    """The token was good and is over."""

    code = "TOKEN_EXPIRED"


class NotEntitledError(AuthError):
    """The caller is known and may not do this."""

    code = "NOT_ENTITLED"
    status = 403


class UnavailableError(MarketstreamError):
    """A part of the server cannot answer at the moment."""

    code = "UNAVAILABLE"
    status = 503
    retryable = True
    public = True


class AllProvidersFailedError(UnavailableError):
    """Nobody answered, and nothing is remembered to fall back on.

    Attributes:
        attempts: Provider and error code of each attempt, in order.
        timed_out: Whether it was the time that was over.
    """

    code = "ALL_PROVIDERS_FAILED"

    def __init__(
        self, text: str, attempts: Sequence[tuple[str, str]] = (), *, timed_out: bool = False
    ) -> None:
        super().__init__(text)
        self.attempts = tuple(attempts)
        self.timed_out = timed_out


class ShareSpentError(AllProvidersFailedError):
    """Nobody was asked: who asks has spent their share of what providers may be asked.

    Attributes:
        user: Tenant and user.
        retry_after_ms: Milliseconds until a provider may be asked again.
    """

    code = "RATE_LIMITED"
    status = 429

    def __init__(
        self, attempts: Sequence[tuple[str, str]], user: tuple[str, str], retry_after_ms: int
    ) -> None:
        super().__init__("your share of what data providers may be asked is spent", attempts)
        self.user = user
        self.retry_after_ms = retry_after_ms


class ProviderError(MarketstreamError):
    """A provider gave no answer that could be used; its text stays inside.

    Attributes:
        provider: Its name.
    """

    code = "PROVIDER_FAILED"
    status = 503

    def __init__(self, provider: str, text: str) -> None:
        super().__init__(f"{provider}: {text}")
        self.provider = provider


class ProviderTimeoutError(ProviderError):
    """It took too long."""

    code = "PROVIDER_TIMEOUT"
    retryable = True


class ProviderUnavailableError(ProviderError):
    """It cannot be reached, or says that it is out of order."""

    code = "PROVIDER_UNAVAILABLE"
    retryable = True


class ProviderRestingError(ProviderError):
    """It failed so often lately that it is left alone for a while; trying again soon is of no use.

    Attributes:
        retry_after: Seconds until it is tried again.
    """

    code = "PROVIDER_RESTING"

    def __init__(self, provider: str, text: str, retry_after: float) -> None:
        super().__init__(provider, text)
        self.retry_after = retry_after


class ProviderQuotaError(ProviderError):
    """It has been asked as often as it allows.

    Attributes:
        retry_after: Seconds until it may be asked again; None when it did not say.
    """

    code = "PROVIDER_QUOTA"

    def __init__(self, provider: str, text: str, retry_after: float | None = None) -> None:
        super().__init__(provider, text)
        self.retry_after = retry_after


class ProviderShareError(ProviderQuotaError):
    """It may be asked, but who asks has spent their share of that.

    Attributes:
        whose: `user`: of one user; `plan`: of all users of a plan; `unknown`: of all questions about what is
            not known to exist.
    """

    code = "PROVIDER_SHARE"

    def __init__(self, provider: str, whose: str, retry_after: float) -> None:
        super().__init__(provider, f"the share of this {whose} is spent", retry_after)
        self.whose = whose


class ProviderDataError(ProviderError):
    """Its answer cannot be read."""

    code = "PROVIDER_DATA"


class ProviderRefusedError(ProviderError):
    """It does not want to answer this, such as for want of a good key."""

    code = "PROVIDER_REFUSED"


class FeedError(MarketstreamError):
    """A source of quotes cannot go on; the supervisor decides what happens then."""

    code = "FEED_FAILED"


class FeedLostError(MarketstreamError):
    """A source of quotes broke off; starting its feed again is what helps.

    Attributes:
        wait: Least seconds before that, where the source asks for patience.
    """

    code = "FEED_LOST"
    retryable = True

    def __init__(self, text: str, *, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


class BusError(MarketstreamError):
    """Frames cannot travel between processes."""

    code = "BUS_UNAVAILABLE"
    status = 503
    retryable = True


class ConfigurationError(MarketstreamError):
    """A setting is missing, unknown or impossible.

    Attributes:
        path: Dotted path of the setting, such as `auth.secret`.
    """

    code = "CONFIGURATION"

    def __init__(self, path: str, text: str) -> None:
        super().__init__(f"{path}: {text}" if path else text)
        self.path = path
