"""Name the reasons for closing a connection, with texts and close codes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CloseReason:
    """One way for a connection to end.

    Attributes:
        code: Stable name for logs and metrics.
        text: Sentence for people; fits a websocket close frame (123 bytes).
        websocket_code: Close code on the wire.
        reconnect: Whether coming back at once is what the client should do.
    """

    code: str
    text: str
    websocket_code: int
    reconnect: bool


CLIENT_LEFT = CloseReason("client_left", "the client left", 1000, reconnect=False)
DISCONNECTED = CloseReason("disconnected", "disconnected by the server", 1000, reconnect=False)
REFUSED = CloseReason("refused", "the handshake was refused", 1008, reconnect=False)
CONNECT_TIMEOUT = CloseReason("connect_timeout", "no successful handshake in time", 1008, reconnect=True)
EVICTED = CloseReason("evicted", "too many clients wait to be let in, this one longest", 1013, reconnect=True)
OVERLOADED = CloseReason(
    "overloaded", "too much waits in the server for something that does not come", 1013, reconnect=True
)
TOKEN_EXPIRED = CloseReason("token_expired", "the token has expired", 4401, reconnect=False)
SLOW_CONSUMER = CloseReason(
    "slow_consumer", "the client does not take what it asked for", 4408, reconnect=True
)
TOO_MANY_MESSAGES = CloseReason("too_many_messages", "too many messages a second", 4429, reconnect=False)
CONNECTION_LIMIT = CloseReason(
    "connection_limit", "the plan allows no more connections of this user", 4429, reconnect=False
)
IDLE = CloseReason("idle", "nothing was heard of the client", 4408, reconnect=True)
INVALID_MESSAGE = CloseReason("invalid_message", "a message breaks the protocol", 1002, reconnect=False)
NOT_TEXT = CloseReason("not_text", "only text messages are taken", 1003, reconnect=False)
MESSAGE_TOO_BIG = CloseReason("message_too_big", "a message is larger than allowed", 1009, reconnect=False)
DRAIN = CloseReason("drain", "the server is going down for a moment", 1012, reconnect=True)
INTERNAL = CloseReason("internal", "the server failed", 1011, reconnect=True)
