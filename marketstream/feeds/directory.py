"""Name the symbols of the synthetic market, for search and profile.

Names, exchanges and sectors are those of the companies; nothing else here is, and no figure is of any day.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """What a symbol stands for.

    Attributes:
        name: As people know it.
        type: equity, etf, index, currency or crypto.
        exchange: Where it trades.
        sector: Part of the economy.
        industry: Part of the sector.
    """

    name: str
    type: str
    exchange: str | None = None
    sector: str | None = None
    industry: str | None = None


_TECH, _CARS, _MEDIA = "Technology", "Consumer Discretionary", "Communication Services"


def _share(name: str, exchange: str, sector: str, industry: str) -> Entry:
    return Entry(name, "equity", exchange, sector, industry)


def _fund(name: str) -> Entry:
    return Entry(name, "etf", "NYSE Arca")


def _index(name: str) -> Entry:
    return Entry(name, "index")


DIRECTORY = {
    "AAPL": _share("Apple Inc.", "NASDAQ", _TECH, "Consumer Electronics"),
    "MSFT": _share("Microsoft Corporation", "NASDAQ", _TECH, "Software"),
    "NVDA": _share("NVIDIA Corporation", "NASDAQ", _TECH, "Semiconductors"),
    "TSLA": _share("Tesla, Inc.", "NASDAQ", _CARS, "Automobiles"),
    "AMZN": _share("Amazon.com, Inc.", "NASDAQ", _CARS, "Internet Retail"),
    "GOOGL": _share("Alphabet Inc.", "NASDAQ", _MEDIA, "Internet Content"),
    "META": _share("Meta Platforms, Inc.", "NASDAQ", _MEDIA, "Internet Content"),
    "JPM": _share("JPMorgan Chase & Co.", "NYSE", "Financials", "Banks"),
    "XOM": _share("Exxon Mobil Corporation", "NYSE", "Energy", "Oil and Gas"),
    "JNJ": _share("Johnson & Johnson", "NYSE", "Health Care", "Pharmaceuticals"),
    "PG": _share("The Procter & Gamble Company", "NYSE", "Consumer Staples", "Household Products"),
    "WMT": _share("Walmart Inc.", "NYSE", "Consumer Staples", "Retail"),
    "SPY": _fund("S&P 500 ETF"),
    "QQQ": _fund("Nasdaq 100 ETF"),
    "XLK": _fund("Technology Sector ETF"),
    "XLF": _fund("Financial Sector ETF"),
    "XLV": _fund("Health Care Sector ETF"),
    "XLE": _fund("Energy Sector ETF"),
    "XLY": _fund("Consumer Discretionary Sector ETF"),
    "XLP": _fund("Consumer Staples Sector ETF"),
    "XLI": _fund("Industrial Sector ETF"),
    "XLU": _fund("Utilities Sector ETF"),
    "XLB": _fund("Materials Sector ETF"),
    "XLRE": _fund("Real Estate Sector ETF"),
    "XLC": _fund("Communication Services Sector ETF"),
    "^GSPC": _index("S&P 500"),
    "^IXIC": _index("Nasdaq Composite"),
    "^DJI": _index("Dow Jones Industrial Average"),
    "^RUT": _index("Russell 2000"),
    "^VIX": _index("CBOE Volatility Index"),
    "BTC/USD": Entry("Bitcoin", "crypto"),
    "ETH/USD": Entry("Ether", "crypto"),
}


def entry_of(symbol: str) -> Entry:
    """Return what a symbol stands for; a pair is a currency and anything else a made-up company."""
    known = DIRECTORY.get(symbol)
    if known is not None:
        return known
    if "/" in symbol:
        return Entry(symbol.replace("/", " in "), "currency")
    return Entry(f"{symbol} (made up)", "equity", "SIM")
