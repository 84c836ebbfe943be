"""Versions of the plugin interface: this one and the one before, and how something goes out of use."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import TYPE_CHECKING

import pluggy
import pytest

from ktpsync.errors import UnknownBackendError
from ktpsync.plugins import PluginRegistry
from ktpsync.plugins import _hookspecs as hookspecs
from ktpsync.plugins._versions import accepted_versions

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

SOURCE = """
from ktpsync.plugins import BackendSpec, SecretProvider, hookimpl
@hookimpl
def ktpsync_backends():
    yield BackendSpec(name="v{version}", api_version={version}, summary="A test.", config="a:B", factory="a:B")
"""


def test_the_first_version_has_none_before_it() -> None:
    """There was no version 0."""
    assert [(1,), (1, 2), (6, 7)] == [accepted_versions(1), accepted_versions(2), accepted_versions(7)]


def test_this_version_and_the_one_before_are_accepted(
    plugin: Callable[[str, str], EntryPoint], caplog: pytest.LogCaptureFixture
) -> None:
    """The older one with a note; others with what to upgrade."""
    plugins = [plugin(f"v{version}", SOURCE.format(version=version)) for version in (1, 2, 3, 4)]

    with caplog.at_level(logging.WARNING):
        registry = PluginRegistry(plugins, api_version=3)

    assert ["v2", "v3"] == list(registry.backends())
    note = "it was written for plugin API 2; the next release of ktpsync refuses it. Upgrade it."
    assert {
        "v1": (1, "it was written for plugin API 1, this is 2 or 3; upgrade the plugin", ()),
        "v2": (2, None, (note,)),
        "v3": (3, None, ()),
        "v4": (4, "it was written for plugin API 4, this is 2 or 3; upgrade ktpsync", ()),
    } == {info.name: (info.api_version, info.rejected, info.notes) for info in registry.plugins()}
    assert f"Plugin unknown:v2: {note}" in caplog.text
    with pytest.raises(UnknownBackendError, match="upgrade ktpsync"):
        registry.spec("v4")


def next_hookspecs() -> ModuleType:
    """Return the hooks as a later release might have them: one has gone out of use, one argument too."""
    marker = pluggy.HookspecMarker("ktpsync")
    later = ModuleType("later")
    later.ktpsync_backends = hookspecs.ktpsync_backends  # type: ignore[attr-defined]
    later.ktpsync_secret_providers = hookspecs.ktpsync_secret_providers  # type: ignore[attr-defined]

    @marker(
        warn_on_impl=DeprecationWarning("ktpsync_rejected goes with plugin API 3; implement ktpsync_refused")
    )
    def ktpsync_rejected(packet_id: str, destination: str) -> None:
        """Go out of use."""

    @marker(
        warn_on_impl_args={
            "destination": DeprecationWarning("destination goes with plugin API 3; take place")
        }
    )
    def ktpsync_delivered(packet_id: str, destination: str, place: str) -> None:
        """Have an argument that goes out of use."""

    later.ktpsync_rejected = ktpsync_rejected  # type: ignore[attr-defined]
    later.ktpsync_delivered = ktpsync_delivered  # type: ignore[attr-defined]
    return later


def test_what_goes_out_of_use_still_works_and_is_told(plugin: Callable[[str, str], EntryPoint]) -> None:
    """For one version: the plugin is used, and `ktpsync plugins` says what its author has to change."""
    source = (
        SOURCE.format(version=2)
        + "@hookimpl\ndef ktpsync_rejected(packet_id): ...\n@hookimpl\ndef ktpsync_delivered(destination): ...\n"
    )

    registry = PluginRegistry([plugin("aging", source)], api_version=2, hookspecs=next_hookspecs())

    (info,) = registry.plugins()
    assert (None, ("ktpsync_delivered", "ktpsync_rejected")) == (info.rejected, info.observes)
    assert [
        "destination goes with plugin API 3; take place",
        "ktpsync_rejected goes with plugin API 3; implement ktpsync_refused",
    ] == sorted(info.notes)
