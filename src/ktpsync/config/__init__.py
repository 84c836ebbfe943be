"""``ktpsync.toml``: the one place that reads the configuration.

::

    [office]
    data = "data"                          # outbox, spool and keys; relative to this file
    recipients_file = "recipients.txt"     # who can open packets: age recipients, one a line

    [destinations.central]                 # where packets are delivered, each under its own name
    backend = "http"
    url = "https://central.example/"
    token = { env = "KTPSYNC_TOKEN" }

    [backups.usb-a]                        # where backups are kept
    backend = "disk"
    path = "/media/usb-a"
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.lazy import exports

if TYPE_CHECKING:
    from ktpsync.config._check import backend_mismatch, check, notices
    from ktpsync.config._exposed import exposed
    from ktpsync.config._load import load
    from ktpsync.config._recipients import parse_recipients, read_recipients_file
    from ktpsync.config._schema import FileSchema, schema
    from ktpsync.config._sections import (
        CONFIG_NAME,
        OWN_KEYS,
        BackupSettings,
        Configuration,
        DestinationSettings,
        Named,
        OfficeSettings,
        SpoolSettings,
        storage_needed,
    )

_ROOMS = {
    "_check": ("backend_mismatch", "check", "notices"),
    "_exposed": ("exposed",),
    "_load": ("load",),
    "_recipients": ("parse_recipients", "read_recipients_file"),
    "_schema": ("FileSchema", "schema"),
    "_sections": (
        "CONFIG_NAME",
        "OWN_KEYS",
        "BackupSettings",
        "Configuration",
        "DestinationSettings",
        "Named",
        "OfficeSettings",
        "SpoolSettings",
        "storage_needed",
    ),
}

__all__ = [
    "CONFIG_NAME",
    "OWN_KEYS",
    "BackupSettings",
    "Configuration",
    "DestinationSettings",
    "FileSchema",
    "Named",
    "OfficeSettings",
    "SpoolSettings",
    "backend_mismatch",
    "check",
    "exposed",
    "load",
    "notices",
    "parse_recipients",
    "read_recipients_file",
    "schema",
    "storage_needed",
]

__getattr__, __dir__ = exports(__name__, _ROOMS)
