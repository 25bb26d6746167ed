"""Handle the signals of a running server; on SIGHUP read plans, routes and the log level again.

SIGTERM and SIGINT drain. SIGHUP reads plans, routes and the log's level and format again: all of them or, if
one is bad, none, and the log says so. Who is connected keeps its plan until it connects or authenticates
again (ADR 0032). SIGUSR1 and SIGUSR2, which would end a process that does not know them, are ignored.
"""

import asyncio
import signal
from collections.abc import Callable, Sequence

import structlog

from marketstream.core.delivery.entitlements import Plan
from marketstream.core.events.rule import Rule
from marketstream.engine.events.streams import EventStreams
from marketstream.errors import ConfigurationError
from marketstream.observability.logging import configure
from marketstream.security.jwt import TokenVerifier
from marketstream.settings import Settings, leaves, load_plans
from marketstream.settings.plan import load_rules

log = structlog.get_logger(__name__)

APPLIED = frozenset({"auth.plans_file", "auth.default_plan", "events.routes_file", "log.level", "log.format"})
"""Settings that count anew without a restart."""

Reread = Callable[[], Settings]
"""Reads all settings from where they came from; raises `ConfigurationError`."""


class Reload:
    """See the module.

    Args:
        settings: With which the server was started.
        reread: Reads them again.
        verifier: Gives tokens their plans.
        events: Have the routes.
    """

    def __init__(
        self, *, settings: Settings, reread: Reread, verifier: TokenVerifier, events: EventStreams
    ) -> None:
        self._settings = settings
        self._reread = reread
        self._verifier = verifier
        self._events = events
        self._asked = asyncio.Event()

    def attach(self, loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
        """Let signals do what the module says.

        Args:
            loop: The loop of the server.
            stop: Begins the drain.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        loop.add_signal_handler(signal.SIGHUP, self._asked.set)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            loop.add_signal_handler(number, _ignore, number.name)

    async def run(self) -> None:
        """Read again whenever it was asked for, until cancelled; what is asked meanwhile is done once."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                self._apply(*await asyncio.to_thread(self._read))
            except ConfigurationError as error:
                log.warning("settings_kept", error=str(error))
            except Exception as error:  # noqa: BLE001  # whatever a file can hold, the server goes on as it was
                log.warning("settings_kept", error=repr(error))

    def _read(self) -> tuple[Settings, dict[str, Plan], tuple[Rule, ...]]:
        settings = self._reread()
        plans = load_plans(settings.auth.plans_file)
        return settings, plans, load_rules(settings.events.routes_file, plans)

    def _apply(self, fresh: Settings, plans: dict[str, Plan], rules: Sequence[Rule]) -> None:
        if fresh.auth.default_plan not in plans:
            raise ConfigurationError("auth.default_plan", f"there is no plan {fresh.auth.default_plan}")
        # The only one that may still refuse comes first.
        self._events.use_rules(rules)
        self._verifier.use_plans(plans, fresh.auth.default_plan)
        configure(fresh.log.level, fresh.log.format)
        left = self._left(fresh)
        log.info("settings_reloaded", plans=len(plans), log_level=fresh.log.level, restart_for=left)

    def _left(self, fresh: Settings) -> list[str]:
        """Return the settings that have changed and count only after a restart."""
        before = dict(leaves(self._settings))
        return [
            path
            for path, value in leaves(fresh)
            # In development mode each reading makes another secret.
            if value != before[path] and path not in APPLIED and not (fresh.dev and path == "auth.secret")
        ]


def _ignore(name: str) -> None:
    log.warning("signal_ignored", signal=name)
