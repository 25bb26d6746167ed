"""Set socket options that detect a vanished peer.

A peer that is switched off, or whose network swallows everything, sends neither FIN nor RST. The kernel
alone can tell it from one that is merely quiet, on every connection and without a message of ours.
"""

import socket

_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", 18)
"""Linux; Python has no name for it on other systems, which do without."""


def give_up_after(listening: socket.socket, seconds: float) -> None:
    """Have the kernel end connections whose peer acknowledges nothing for so long.

    Connections inherit the options of the socket they are accepted on. What was sent has to be
    acknowledged in time, and one over which nothing goes is probed from a fifth of the time on: a peer that
    vanished is gone within six fifths. A window that stays closed counts too, though its machine answers:
    whoever takes nothing has to be ended sooner, or nobody learns why.

    Args:
        listening: A socket for TCP, before connections are accepted on it.
        seconds: From the first byte that is not acknowledged, or the first sign of life that is missed.
    """
    if not hasattr(socket, "TCP_KEEPIDLE"):
        return
    # What is sent shortly before the first probe has the whole time: quiet and time together are the longest.
    quiet, interval = max(1, round(seconds / 5)), max(1, round(seconds / 10))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, quiet)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    listening.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, round(seconds * 1000))
