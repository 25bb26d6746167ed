"""The providers that the settings describe, ready to be asked, in the order in which they are."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from marketstream.core.query.breaker import Breaker
from marketstream.core.query.quota import Allowance
from marketstream.ports import Clock, Provider, ProviderQuota
from marketstream.providers.alpha_vantage import AlphaVantage
from marketstream.providers.fmp import Fmp
from marketstream.providers.guard import Guard, Observe
from marketstream.providers.http import HttpClient
from marketstream.providers.tiingo import Tiingo
from marketstream.providers.yahoo import Yahoo
from marketstream.settings.vendor import Providers

NAMES = ("yahoo", "fmp", "alpha_vantage", "tiingo")
"""Providers in the order in which they are asked; each has a table of settings of its name."""


@dataclass(frozen=True, slots=True)
class Vendors:
    """All providers there are, and what they share.

    Attributes:
        providers: In the order of `NAMES`, also those that are not configured.
    """

    providers: Sequence[Provider]
    _client: HttpClient
    _yahoo: Yahoo

    async def aclose(self) -> None:
        """Lets go of connections and threads; nobody can be asked after."""
        await self._client.aclose()
        await self._yahoo.aclose()


def allowances(settings: Providers) -> dict[str, Allowance]:
    """How often each provider may be asked, by its name, for a `Budget`."""
    tables = {name: getattr(settings, name) for name in NAMES}
    return {name: Allowance(table.per_minute, table.per_day) for name, table in tables.items()}


def load_vendors(settings: Providers, *, quota: ProviderQuota, clock: Clock, observe: Observe) -> Vendors:
    """Makes all providers; connects to none.

    Args:
        settings: As they were read.
        quota: Counts what they are asked; made with `allowances`.
        clock: Time.
        observe: Told the name of a provider and the milliseconds of each answer or failure.
    """

    def guard(name: str) -> Guard:
        return Guard(
            name=name,
            timeout=getattr(settings, name).timeout,
            quota=quota,
            breaker=Breaker(failures=settings.failures, pause=settings.pause),
            clock=clock,
            observe=observe,
        )

    client = HttpClient(clock=clock)
    yahoo = Yahoo(base_url=settings.yahoo.base_url, guard=guard("yahoo"), clock=clock)
    keyed = [
        vendor(
            key=_shown(key),
            base_url=getattr(settings, vendor.name).base_url,
            client=client,
            guard=guard(vendor.name),
            clock=clock,
        )
        for vendor, key in (
            (Fmp, settings.financial_modeling_prep_api_key),
            (AlphaVantage, settings.alpha_vantage_api_key),
            (Tiingo, settings.tiingo_api_key),
        )
    ]
    return Vendors((yahoo, *keyed), client, yahoo)


def _shown(key: SecretStr | None) -> str | None:
    """A key as it is sent; an empty one is none."""
    return (key.get_secret_value() or None) if key is not None else None
