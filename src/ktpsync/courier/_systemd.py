"""The one message that systemd understands (``sd_notify``)."""

from __future__ import annotations

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
