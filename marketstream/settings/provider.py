"""Those who can be asked, as the settings name and describe them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from marketstream.core.query.quota import Allowance
from marketstream.plugins.provider import PROVIDER, ProviderPlugin
from marketstream.settings.vendor import Providers, Vendor

NAMES = ("yahoo", "fmp", "alpha_vantage", "tiingo")
"""Who is asked where nobody is named, in this order; each has a table of settings of its name."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How one provider is asked.

    Attributes:
        plugin: Makes it.
        timeout: Seconds that an answer may take.
        allowance: How often it may be asked.
        base_url: Where its paths begin; None: as it knows itself.
    """

    plugin: ProviderPlugin
    timeout: float
    allowance: Allowance
    base_url: str | None = None


def load_terms(settings: Providers, names: Sequence[str]) -> Mapping[str, Terms]:
    """Import the providers of some names; each is asked as its table says, else as it says itself.

    Raises:
        ConfigurationError: A name stands for nothing that could be used.
    """
    return {name: _terms(PROVIDER.load(name, "market.providers"), _table(settings, name)) for name in names}


def _table(settings: Providers, name: str) -> Vendor | None:
    table = getattr(settings, name, None)
    return table if isinstance(table, Vendor) else None


def _terms(plugin: ProviderPlugin, table: Vendor | None) -> Terms:
    if table is None:
        return Terms(plugin, plugin.timeout, plugin.allowance)
    return Terms(plugin, table.timeout, Allowance(table.per_minute, table.per_day), table.base_url)
