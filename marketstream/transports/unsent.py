"""Measure what a peer has not taken yet."""

import asyncio
import sys
from fcntl import ioctl

# Of a TCP socket on Linux these are the bytes that the peer has not acknowledged (SIOCOUTQ in tcp(7)).
from termios import TIOCOUTQ


def unsent(transport: asyncio.Transport | None) -> int:
    """Return the bytes that were written and that the peer has not acknowledged.

    On a slow line the kernel alone may hold what takes minutes to arrive, while the transport is empty.
    """
    if transport is None or transport.is_closing():
        return 0
    held = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    try:
        return held + int.from_bytes(ioctl(sock.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, AttributeError):
        # It is no TCP socket, or not Linux.
        return held
