"""A peer that has vanished: whatever the server sends it from now on is swallowed, and nothing comes back.

The kernel drops each segment before TCP sees it, by a filter on the client's socket. So there is no
acknowledgement, no FIN and no RST, as from a machine that lost its power or its network.
"""

import ctypes
import socket
import struct
from pathlib import Path

SO_ATTACH_FILTER = 26
DROP = struct.pack("HBBI", 0x06, 0, 0, 0)
"""One instruction of BPF: keep no byte."""


def vanish(sock: socket.socket) -> None:
    """Make a connected client deaf and mute."""
    program = ctypes.create_string_buffer(DROP)
    sock.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(DROP) // 8, ctypes.addressof(program))
    )


def held(port: int, sock: socket.socket) -> bool:
    """Whether the kernel still holds the server's end of a client's connection, in whatever state.

    Args:
        port: Of the server, on 127.0.0.1.
        sock: The client's end.
    """
    ours = f"0100007F:{port:04X} 0100007F:{sock.getsockname()[1]:04X}"
    return any(ours in line for line in Path("/proc/net/tcp").read_text().splitlines())
