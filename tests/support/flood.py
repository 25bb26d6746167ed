"""The same request again and again on one connection, as fast as it is answered, for a thread."""

import socket
from collections import Counter

from tests.support.eventually import scaled


def flood(port: int, request: bytes, count: int) -> Counter[int]:
    """Sends a request so many times; returns how often each status was the answer."""
    statuses: Counter[int] = Counter()
    with (
        socket.create_connection(("127.0.0.1", port), timeout=scaled(30)) as sock,
        sock.makefile("rb") as file,
    ):
        for _ in range(count):
            sock.sendall(request)
            statuses[int(file.readline().split()[1])] += 1
            length = 0
            while line := file.readline().strip():
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            file.read(length)
    return statuses
