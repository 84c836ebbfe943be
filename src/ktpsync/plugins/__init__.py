"""Everything that the author of a plugin needs.

A backend plugin is a module with one hook implementation, announced in the entry-point group ``ktpsync``::

    from ktpsync.plugins import PLUGIN_API_VERSION, BackendSpec, hookimpl

    @hookimpl
    def ktpsync_backends():
        yield BackendSpec(
            name="sftp",
            api_version=PLUGIN_API_VERSION,
            summary="Store packets on an SFTP server.",
            config="ktpsync_sftp.config:SftpConfig",
            factory="ktpsync_sftp.backend:SftpBackend",
        )
"""

from __future__ import annotations

from ktpsync.plugins._backend import Backend, BackendContext, Capability
from ktpsync.plugins._central import CentralBackend, Holding, HoldingState, StatusChange, StatusPage
from ktpsync.plugins._hookspecs import PLUGIN_API_VERSION, hookimpl
from ktpsync.plugins._observers import Observers
from ktpsync.plugins._registry import PluginInfo, PluginRegistry
from ktpsync.plugins._settings import ByteSize, Duration, Secret, read_settings
from ktpsync.plugins._spec import BackendSpec
from ktpsync.plugins._storage import ObjectInfo, StorageBackend, packet_key, valid_key
from ktpsync.plugins._values import Health, Receipt

__all__ = [
    "PLUGIN_API_VERSION",
    "Backend",
    "BackendContext",
    "BackendSpec",
    "ByteSize",
    "Capability",
    "CentralBackend",
    "Duration",
    "Health",
    "Holding",
    "HoldingState",
    "ObjectInfo",
    "Observers",
    "PluginInfo",
    "PluginRegistry",
    "Receipt",
    "Secret",
    "StatusChange",
    "StatusPage",
    "StorageBackend",
    "hookimpl",
    "packet_key",
    "read_settings",
    "valid_key",
]
