"""Users of a real server and the quota of a vendor that they share: nobody spends it for the others."""

import asyncio
import string
from itertools import product

import aiohttp

from tests.support.server import Server, running_server
from tests.support.vendors import KEY, Vendors, running_vendors

PER_DAY = 250


def only_fmp(vendors: Vendors) -> dict[str, str]:
    """Settings of a server that asks one vendor, and nothing by itself."""
    return {
        "MARKETSTREAM_MARKET__PROVIDERS": "fmp",
        "FINANCIAL_MODELING_PREP_API_KEY": KEY,
        "MARKETSTREAM_PROVIDERS__FMP__BASE_URL": vendors.base_url("fmp"),
        "MARKETSTREAM_PROVIDERS__FMP__PER_MINUTE": "0",
        "MARKETSTREAM_PROVIDERS__FMP__PER_DAY": str(PER_DAY),
        "MARKETSTREAM_JOBS__ENABLED": "false",
    }


async def statuses(
    server: Server, symbols: list[str], user: str, plan: str, kind: str = "quote"
) -> list[int]:
    """What a user is answered who asks about symbols, some at a time."""
    headers = {"Authorization": f"Bearer {server.token(user=user, plan=plan)}"}
    gate = asyncio.Semaphore(10)
    async with aiohttp.ClientSession(headers=headers) as session:

        async def ask(symbol: str) -> int:
            async with gate, session.get(f"{server.url}/api/v1/market/{kind}/{symbol}") as answer:
                await answer.read()
                return answer.status

        return await asyncio.gather(*map(ask, symbols))


async def test_one_user_who_makes_names_up_leaves_the_day_to_the_others() -> None:
    """What several processes count together is in the contract of budgets."""
    made_up = ["".join(letters) for letters in product(string.ascii_uppercase, repeat=3)]
    async with running_vendors() as vendors, running_server(env=only_fmp(vendors)) as server:
        vendors.known.add("KNOWN")
        assert await statuses(server, ["KNOWN"], "honest", "pro") == [200]
        vendors.asked.clear()
        impossible = [f"ZZ{number}" for number in range(10)]
        answers = await statuses(server, [*impossible, *made_up[:80]], "greedy", "basic")
        assert set(answers) == {404, 429}
        asked = [query["symbol"] for _, _, query in vendors.asked]
        assert not any(symbol.startswith("ZZ") for symbol in asked)
        assert len(asked) == PER_DAY // 10
        assert await server.logged("provider_share_spent")
        # Many others who do the same get no further than what is not kept for symbols that exist.
        for number in range(12):
            await statuses(server, made_up[1000 + number * 30 : 1030 + number * 30], f"u{number}", "pro")
        # The first question about the one that is known was about one that was not.
        assert len(vendors.asked) == PER_DAY // 2 - 1
        assert await statuses(server, ["KNOWN?period=max"], "honest", "pro", "historical") == [200]
        assert len(vendors.asked) == PER_DAY // 2
