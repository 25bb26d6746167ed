"""Client of marketstream, a real-time market-data server: best prices by callbacks and iterators.

async with MarketDataClient("http://127.0.0.1:8080", token=token) as client:
    async for quote in client.stream_quotes(["EUR/USD", "AAPL"]):
        print(quote.symbol, quote.best_bid, quote.best_ask)
"""

from marketstream_sdk.client import MarketDataClient
from marketstream_sdk.errors import (
    AuthenticationError,
    ConnectionFailedError,
    ConnectionLostError,
    EventSubscriptionError,
    InvalidMessageError,
    InvalidSymbolError,
    MarketDataError,
    NoAnswerError,
    NotConnectedError,
    RateLimitedError,
    RequestError,
    SubscriptionError,
    UnsupportedError,
)
from marketstream_sdk.event_model import EventFilter, EventMarket, MarketEvent, Priority, Tier
from marketstream_sdk.link import Token
from marketstream_sdk.model import (
    Channel,
    ChannelUpdate,
    Lagged,
    MarketQuote,
    Mode,
    Quote,
    Side,
    State,
    StreamStatus,
    SymbolStatus,
)
from marketstream_sdk.stream import EventStream, QuoteStream
from marketstream_sdk.sync import SyncEventStream, SyncMarketDataClient, SyncQuoteStream

__version__ = "0.1.0"

__all__ = [
    "AuthenticationError",
    "Channel",
    "ChannelUpdate",
    "ConnectionFailedError",
    "ConnectionLostError",
    "EventFilter",
    "EventMarket",
    "EventStream",
    "EventSubscriptionError",
    "InvalidMessageError",
    "InvalidSymbolError",
    "Lagged",
    "MarketDataClient",
    "MarketDataError",
    "MarketEvent",
    "MarketQuote",
    "Mode",
    "NoAnswerError",
    "NotConnectedError",
    "Priority",
    "Quote",
    "QuoteStream",
    "RateLimitedError",
    "RequestError",
    "Side",
    "State",
    "StreamStatus",
    "SubscriptionError",
    "SymbolStatus",
    "SyncEventStream",
    "SyncMarketDataClient",
    "SyncQuoteStream",
    "Tier",
    "Token",
    "UnsupportedError",
]
