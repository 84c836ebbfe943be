"""What is said of an error that no plugin may raise."""

from __future__ import annotations

import logging
from typing import Final

from ktpsync.plain import anonymous

TELL: Final = "Tell its author; KTPSYNC_DEBUG=1 shows the traceback, as the log does at level debug."
"""What to do about it."""

_log = logging.getLogger("ktpsync.plugins")


def mistake_told(error: BaseException, plugin: str = "") -> str:
    """Say which error it is and in which plugin; the traceback goes into the log ``ktpsync.plugins`` at level debug.

    Args:
        error: What was raised. Its text may hold what must not be shown, so it is shortened.
        plugin: What :meth:`PluginRegistry.offering` says, where it is known.
    """
    _log.debug("A plugin must not raise this.", exc_info=error)
    words = anonymous(str(error))
    said = f": {words}" if words else ""
    if not plugin:
        return f"{type(error).__name__}{said}"
    return f"{type(error).__name__} in {plugin}{said.rstrip('.')}. {TELL}"
