"""What systemd and a service tell each other: ``sd_notify`` and the watchdog's interval."""

from __future__ import annotations

import math
import os
import socket


def tell_systemd(state: str) -> bool:
    """Send a state such as ``READY=1`` to systemd, if it has started this process and listens.

    Returns:
        Whether it was sent.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address or not hasattr(socket, "AF_UNIX"):
        return False
    # A leading @ stands for the zero byte of Linux's abstract names.
    name = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        try:
            channel.connect(name)
            channel.send(state.encode())
        except OSError:
            return False
    return True


def watchdog_seconds() -> float:
    """Return how often at least systemd wants a sign of life of this process; infinity if it wants none."""
    meant_for = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    try:
        micros = int(os.environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        micros = 0
    return micros / 1e6 if micros > 0 and meant_for == str(os.getpid()) else math.inf
