"""What the operating system knows: how much a process has used, whether others are busy, what runs here.

Linux only; reads `/proc` and nothing else.
"""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

SERVER_CPU, LOAD_CPU = 0, 1
LISTENING = "0A"

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_IDLE, _IOWAIT = 3, 4
_LIBRARIES = (
    *("aiofastnet", "aiohttp", "orjson", "pyjwt"),
    *("python-engineio", "python-socketio", "structlog", "uvloop"),
)


def cpu_seconds(pid: int) -> float:
    """Processor time of the threads of a process so far, in user and kernel mode, to the nanosecond."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def busy_seconds(cpu: int) -> float:
    """Time that a processor has not been idle since the machine started, whoever used it."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{cpu}":
            return sum(int(value) for i, value in enumerate(fields[:8]) if i not in (_IDLE, _IOWAIT)) / _TICKS
    raise ValueError(f"there is no processor {cpu}")


def is_listening(port: int) -> bool:
    """Whether somebody listens on a TCP port of 127.0.0.1; found without connecting."""
    wanted = f":{port:04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(row[1].endswith(wanted) and row[3] == LISTENING for row in rows)


def wait_until_quiet(patience: float, *, share: float = 0.1) -> bool:
    """Waits for a second in which both processors do next to nothing.

    Args:
        patience: Seconds to wait at most.
        share: How busy each of them may be.

    Returns:
        False when that second did not come.
    """
    give_up_at = time.monotonic() + patience
    while True:
        before = [busy_seconds(cpu) for cpu in (SERVER_CPU, LOAD_CPU)]
        time.sleep(1)
        after = [busy_seconds(cpu) for cpu in (SERVER_CPU, LOAD_CPU)]
        if all(end - start <= share for start, end in zip(before, after, strict=True)):
            return True
        if time.monotonic() > give_up_at:
            return False


def wait_until_settled(pid: int, patience: float = 5.0) -> None:
    """Waits until a process that has just started has done its imports: its memory stands still."""
    before = -1
    give_up_at = time.monotonic() + patience
    while (now := resident_bytes(pid)) != before and time.monotonic() < give_up_at:
        before = now
        time.sleep(0.5)


def describe() -> str:
    """The machine and the versions that figures depend on, in a few lines."""
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"{os.cpu_count()} x {model}; {platform.system()} {platform.release()}\n"
        f"{platform.python_implementation()} {platform.python_version()}; {libraries}"
    )
