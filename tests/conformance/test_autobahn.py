"""Autobahn's cases of RFC 6455 against our WebSocket: other people's idea of what a server must do."""

from kosoku import run_fuzzingclient

from tests.support.echo import echo_server

COMPRESSION = ["12.*", "13.*"]
"""No extension is negotiated (docs/protocol.md): these cases have nothing to look at."""

LATE = {"6.4.3", "6.4.4"}
"""Text that is wrong in the middle of a frame is refused when the frame is complete: late, but allowed."""

UNSPECIFIED = {"7.1.6", "7.13.1", "7.13.2"}
"""What Autobahn only reports on."""


async def test_every_case_passes() -> None:
    """301 cases; the run raises on the first kind of verdict that is a failure."""
    async with echo_server() as address:
        results = await run_fuzzingclient(f"ws://{address}", exclude_cases=COMPRESSION, concurrency=2)
    assert len(results) >= 301
    verdicts = {result.case_id: (result.behavior.value, result.behavior_close.value) for result in results}
    unusual = {case: verdict for case, verdict in verdicts.items() if verdict != ("OK", "OK")}
    assert unusual == {
        **dict.fromkeys(LATE, ("NON-STRICT", "OK")),
        **dict.fromkeys(UNSPECIFIED, ("INFORMATIONAL", "INFORMATIONAL")),
    }
