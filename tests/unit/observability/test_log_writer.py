"""The thread that writes the log, over descriptors that are full, closed or not read."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from marketstream.observability.log_writer import LogWriter
from tests.support.eventually import wait_until


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):  # the test has closed it
            os.close(end)


def lines(end: int) -> list[str]:
    """What is read until every writer has closed the pipe."""
    with os.fdopen(os.dup(end), encoding="utf-8") as text:
        return text.read().splitlines()


def exactly(end: int, size: int) -> bytes:
    """So many bytes, however many reads they take."""
    read = bytearray()
    while len(read) < size:
        read += os.read(end, size - len(read))
    return bytes(read)


def test_what_is_written_arrives_in_order(pipe: tuple[int, int]) -> None:
    reader, target = pipe
    writer = LogWriter(target)
    for number in range(1_000):
        assert writer.write(f"{number}\n") == len(f"{number}\n")
    writer.drain()
    os.close(target)
    assert lines(reader) == [str(number) for number in range(1_000)]
    assert (writer.dropped, writer.waiting) == (0, 0)


def test_nobody_waits_for_a_reader_that_has_stopped(pipe: tuple[int, int]) -> None:
    """What waits is bounded, what finds no room is counted, and the reader is told once it reads again."""
    reader, target = pipe
    writer = LogWriter(target, room=256 * 1024)
    told: list[int] = []
    writer.on_recovery = told.append
    line = "x" * 1_023 + "\n"
    for _ in range(1_000):
        writer.write(line)
    assert writer.waiting <= 256 * 1024
    assert writer.dropped >= 1_000 - (256 + 64 + 64)
    read = exactly(reader, (1_000 - writer.dropped) * len(line))
    assert set(read.decode().splitlines()) == {line.strip()}
    # A thread that came late may have written, and told, before the last line was dropped.
    wait_until(lambda: sum(told) == writer.dropped, 5, "word of every line that is missing")


def test_a_full_disk_costs_its_lines_and_nothing_else() -> None:
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123 - a device
        writer = LogWriter(full.fileno(), pause=0.01)
        for number in range(10):
            writer.write(f"{number}\n")
        wait_until(lambda: writer.dropped == 10, 5, "ten dropped lines")
        assert writer.waiting == 0
        writer.drain()


def test_a_reader_that_has_gone_costs_its_lines_and_nothing_else(pipe: tuple[int, int]) -> None:
    reader, target = pipe
    os.close(reader)
    writer = LogWriter(target, pause=0.01)
    writer.write("lost\n")
    wait_until(lambda: writer.dropped == 1, 5, "a dropped line")
    writer.drain()


def test_what_was_cut_off_does_not_run_into_the_next_line(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up takes a part of a line; the part stands alone, the line is told to be missing."""
    reader, target = pipe
    real, calls = os.write, iter([3, None])

    def short(fd: int, data: bytes) -> int:
        size = next(calls, -1)
        if size is None:
            raise OSError(errno.ENOSPC, "no space left on device")
        return real(fd, data[:size] if size > 0 else data)

    monkeypatch.setattr(os, "write", short)
    writer = LogWriter(target, pause=0.01)
    told = threading.Event()

    def tell(count: int) -> None:
        writer.write(f"{count} missing\n")
        told.set()

    writer.on_recovery = tell
    writer.write("abcdef\n")
    wait_until(lambda: writer.dropped == 1, 5, "a dropped line")
    writer.write("next\n")
    assert told.wait(5)
    writer.drain()
    os.close(target)
    assert lines(reader) == ["abc", "next", "1 missing"]


def test_a_descriptor_that_does_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    """Who shares the terminal may have made it so."""
    reader, target = pipe
    os.set_blocking(target, False)
    writer = LogWriter(target)
    for _ in range(200):
        writer.write("x" * 1_023 + "\n")
    exactly(reader, 200 * 1_024)
    assert writer.dropped == 0


def test_the_end_does_not_wait_for_ever(pipe: tuple[int, int]) -> None:
    reader, target = pipe
    writer = LogWriter(target)
    writer.write("x" * 500_000)
    writer.drain(timeout=0.05)
    assert writer.waiting == 500_000
    exactly(reader, 500_000)  # or its thread would write into the next test's pipe


def test_text_that_is_no_unicode_is_written_all_the_same(pipe: tuple[int, int]) -> None:
    reader, target = pipe
    writer = LogWriter(target)
    writer.write("half \ud83d\n")
    writer.drain()
    os.close(target)
    assert lines(reader) == ["half \\ud83d"]
