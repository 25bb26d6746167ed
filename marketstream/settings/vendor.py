"""Define the settings of data providers."""

from typing import Annotated

from pydantic import Field, SecretStr

from marketstream.settings.section import Allowed, Count, Seconds, Section, WebAddress


class Vendor(Section):
    """How one data provider is asked.

    Attributes:
        base_url: Where its paths begin.
        timeout: Seconds that an answer may take.
        per_minute: Questions in a minute, of all processes together; 0: any number.
        per_day: Questions on a day of UTC; 0: any number.
    """

    base_url: WebAddress
    timeout: Seconds = 2
    per_minute: Allowed
    per_day: Allowed


class Yahoo(Vendor):
    """Yahoo Finance, which names no limits."""

    base_url: WebAddress = "https://query2.finance.yahoo.com"
    per_minute: Allowed = 30
    per_day: Allowed = 2000


class Fmp(Vendor):
    """Financial Modeling Prep."""

    base_url: WebAddress = "https://financialmodelingprep.com/stable"
    per_minute: Allowed = 30
    per_day: Allowed = 250


class AlphaVantage(Vendor):
    """Alpha Vantage."""

    base_url: WebAddress = "https://www.alphavantage.co"
    per_minute: Allowed = 5
    per_day: Allowed = 25


class Tiingo(Vendor):
    """Tiingo."""

    base_url: WebAddress = "https://api.tiingo.com"
    per_minute: Allowed = 5
    per_day: Allowed = 500


class Providers(Section):
    """Data providers: keys, and how they are asked. One without its key is unconfigured, which is no error.

    Attributes:
        failures: Failures in a row after which a provider is left alone.
        pause: Seconds for which it is.
        reserve: Part of each quota that is kept for symbols that are known to exist.
    """

    failures: Count = 5
    pause: Seconds = 30
    reserve: Annotated[float, Field(ge=0, lt=1)] = 0.5
    alpha_vantage_api_key: SecretStr | None = None
    financial_modeling_prep_api_key: SecretStr | None = None
    tiingo_api_key: SecretStr | None = None
    alpaca_api_key: SecretStr | None = None
    alpaca_api_secret: SecretStr | None = None
    yahoo: Yahoo = Yahoo()
    fmp: Fmp = Fmp()
    alpha_vantage: AlphaVantage = AlphaVantage()
    tiingo: Tiingo = Tiingo()
