"""Everything that the author of a plugin needs.

A backend plugin is a module with one hook implementation, announced in the entry-point group ``ktpsync``::

    from ktpsync.plugins import BackendSpec, hookimpl

    @hookimpl
    def ktpsync_backends():
        yield BackendSpec(
            name="sftp",
            api_version=1,
            summary="Store packets on an SFTP server.",
            config="ktpsync_sftp.backend:SftpSettings",
            factory="ktpsync_sftp.backend:SftpBackend",
        )
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.lazy import exports

if TYPE_CHECKING:
    from ktpsync.plugins._backend import Backend, BackendContext, Capability
    from ktpsync.plugins._central import CentralBackend, Holding, HoldingState, StatusChange, StatusPage
    from ktpsync.plugins._digest import digest_of
    from ktpsync.plugins._folder import FolderBackend, FolderEntry
    from ktpsync.plugins._hookspecs import hookimpl
    from ktpsync.plugins._loading import PluginInfo
    from ktpsync.plugins._mistakes import mistake_told
    from ktpsync.plugins._observers import Observers
    from ktpsync.plugins._registry import PluginRegistry
    from ktpsync.plugins._schema import settings_schema
    from ktpsync.plugins._secrets import Secret, SecretSources
    from ktpsync.plugins._settings import ByteSize, Duration, read_settings
    from ktpsync.plugins._spec import BackendSpec, SecretProvider
    from ktpsync.plugins._status import error_for_status, retry_after
    from ktpsync.plugins._storage import ObjectInfo, StorageBackend, packet_key, valid_key
    from ktpsync.plugins._values import Health, Receipt
    from ktpsync.plugins._versions import PLUGIN_API_VERSION

_ROOMS = {
    "_backend": ("Backend", "BackendContext", "Capability"),
    "_central": ("CentralBackend", "Holding", "HoldingState", "StatusChange", "StatusPage"),
    "_digest": ("digest_of",),
    "_folder": ("FolderBackend", "FolderEntry"),
    "_hookspecs": ("hookimpl",),
    "_loading": ("PluginInfo",),
    "_mistakes": ("mistake_told",),
    "_observers": ("Observers",),
    "_registry": ("PluginRegistry",),
    "_schema": ("settings_schema",),
    "_secrets": ("Secret", "SecretSources"),
    "_settings": ("ByteSize", "Duration", "read_settings"),
    "_spec": ("BackendSpec", "SecretProvider"),
    "_status": ("error_for_status", "retry_after"),
    "_storage": ("ObjectInfo", "StorageBackend", "packet_key", "valid_key"),
    "_values": ("Health", "Receipt"),
    "_versions": ("PLUGIN_API_VERSION",),
}

__all__ = [
    "PLUGIN_API_VERSION",
    "Backend",
    "BackendContext",
    "BackendSpec",
    "ByteSize",
    "Capability",
    "CentralBackend",
    "Duration",
    "FolderBackend",
    "FolderEntry",
    "Health",
    "Holding",
    "HoldingState",
    "ObjectInfo",
    "Observers",
    "PluginInfo",
    "PluginRegistry",
    "Receipt",
    "Secret",
    "SecretProvider",
    "SecretSources",
    "StatusChange",
    "StatusPage",
    "StorageBackend",
    "digest_of",
    "error_for_status",
    "hookimpl",
    "mistake_told",
    "packet_key",
    "read_settings",
    "retry_after",
    "settings_schema",
    "valid_key",
]

__getattr__, __dir__ = exports(__name__, _ROOMS)
