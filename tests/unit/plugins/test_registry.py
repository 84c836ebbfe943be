"""Finding plugins."""

from __future__ import annotations

import logging
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ktpsync.errors import ConfigError, PluginError, UnknownBackendError
from ktpsync.plugins import BackendContext, PluginRegistry

if TYPE_CHECKING:
    from collections.abc import Callable

CONTEXT = BackendContext(name="x")

GOOD = """
from ktpsync.plugins import PLUGIN_API_VERSION, BackendSpec, hookimpl
@hookimpl
def ktpsync_backends():
    yield BackendSpec(name="{name}", api_version={version}, summary="A test.", config="{config}", factory="{factory}")
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], EntryPoint]:
    """Returns a function that writes a module and announces it."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(name: str, source: str) -> EntryPoint:
        module = f"ktpsync_test_{name}_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(source)
        return EntryPoint(name=name, value=module, group="ktpsync")

    return make


def good(name: str, version: str = "PLUGIN_API_VERSION") -> str:
    """Return the source of a plugin that offers a disk under another name."""
    target = "ktpsync.backends.disk.backend:Disk"
    return GOOD.format(name=name, version=version, config=f"{target}Settings", factory=f"{target}Backend")


def test_the_built_in_backends_are_found() -> None:
    """They are announced like anybody else's."""
    registry = PluginRegistry.load()

    assert {"disk", "http", "s3"} <= registry.backends().keys()
    assert [] == [info for info in registry.plugins() if info.distribution == "ktpsync" and info.rejected]


def test_listing_imports_no_backend() -> None:
    """Start-up stays quick however many plugins are installed."""
    program = (
        "import sys; from ktpsync.plugins import PluginRegistry; PluginRegistry.load().backends(); "
        "bad = {'boto3', 'botocore', 'sqlalchemy', 'urllib3', 'ktpsync.backends.disk.backend'} & set(sys.modules); "
        "sys.exit(f'imported: {bad}' if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)


def test_a_broken_plugin_is_named_and_the_others_work(plugin: Callable[[str, str], EntryPoint]) -> None:
    """Whatever happens while it loads."""
    registry = PluginRegistry([plugin("broken", "raise RuntimeError('oops')"), plugin("fine", good("fine"))])

    assert {"broken": "it failed to load: RuntimeError: oops", "fine": None} == {
        info.name: info.rejected for info in registry.plugins()
    }
    assert ["fine"] == list(registry.backends())
    with pytest.raises(UnknownBackendError, match="oops"):
        registry.spec("broken")


def test_another_api_version_is_refused(plugin: Callable[[str, str], EntryPoint]) -> None:
    """This version and the one before are accepted."""
    registry = PluginRegistry(
        [
            plugin("old", good("old", "PLUGIN_API_VERSION - 1")),
            plugin("new", good("new", "PLUGIN_API_VERSION + 1")),
        ]
    )

    assert ["old"] == list(registry.backends())
    with pytest.raises(UnknownBackendError, match="plugin API 2"):
        registry.spec("new")


def test_two_claims_to_one_name_disable_both(plugin: Callable[[str, str], EntryPoint]) -> None:
    """Nobody's packets go to a backend that slipped in under a known name."""
    registry = PluginRegistry([plugin("one", good("same")), plugin("two", good("same"))])

    assert [] == list(registry.backends())
    with pytest.raises(UnknownBackendError, match="both offer"):
        registry.spec("same")


def test_disabled_plugins_are_not_even_loaded(plugin: Callable[[str, str], EntryPoint]) -> None:
    """The switch works also where loading would do harm."""
    registry = PluginRegistry([plugin("bomb", "raise SystemExit")], disabled=frozenset({"bomb"}))

    assert ["disabled by KTPSYNC_DISABLE_PLUGINS"] == [info.rejected for info in registry.plugins()]


def test_the_environment_disables_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, or all at once."""
    monkeypatch.setenv("KTPSYNC_DISABLE_PLUGINS", "s3")
    assert "s3" not in PluginRegistry.load().backends()
    assert "disk" in PluginRegistry.load().backends()
    monkeypatch.setenv("KTPSYNC_DISABLE_PLUGINS", "all")
    assert {} == PluginRegistry.load().backends()


def test_an_unknown_backend_gets_a_suggestion() -> None:
    """A typing error is told as one."""
    with pytest.raises(UnknownBackendError, match="Perhaps 'disk'"):
        PluginRegistry.load().spec("dsik")


def test_settings_are_checked_when_a_backend_is_made() -> None:
    """With the place in the file."""
    with pytest.raises(ConfigError, match=r"\[destinations\.usb\] pth: .*'path'"):
        PluginRegistry.load().make("disk", {"pth": "x"}, CONTEXT, where="[destinations.usb]", base=Path())


def test_a_backend_that_cannot_be_imported_is_told(plugin: Callable[[str, str], EntryPoint]) -> None:
    """The missing package is named."""
    source = GOOD.format(name="far", version="1", config="no_such_package:A", factory="no_such_package:B")
    registry = PluginRegistry([plugin("far", source)])

    with pytest.raises(PluginError, match="no_such_package"):
        registry.make("far", {}, CONTEXT, where="[x]", base=Path())


OBSERVER = """
from ktpsync.plugins import hookimpl
seen = []
@hookimpl
def ktpsync_delivered(packet_id):
    {body}
"""


def test_observers_are_told_and_a_broken_one_does_no_harm(
    plugin: Callable[[str, str], EntryPoint], caplog: pytest.LogCaptureFixture
) -> None:
    """Each takes the arguments it wants; one that raises is logged by name."""
    broken = plugin("broken", OBSERVER.format(body="raise RuntimeError('oops')"))
    fine = plugin("fine", OBSERVER.format(body="seen.append(packet_id)"))
    registry = PluginRegistry([broken, fine])

    with caplog.at_level(logging.ERROR):
        registry.notify.delivered("id-1", "central")

    assert ["id-1"] == sys.modules[fine.value].seen
    assert "broken" in caplog.text
