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

from ktpsync.config._load import load
from ktpsync.config._recipients import parse_recipients, read_recipients_file
from ktpsync.config._sections import (
    CONFIG_NAME,
    BackupSettings,
    Configuration,
    DestinationSettings,
    Named,
    OfficeSettings,
)

__all__ = [
    "CONFIG_NAME",
    "BackupSettings",
    "Configuration",
    "DestinationSettings",
    "Named",
    "OfficeSettings",
    "load",
    "parse_recipients",
    "read_recipients_file",
]
