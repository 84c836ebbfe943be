"""Finding plugins."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ktpsync.errors import ConfigError, PluginError, UnknownBackendError
from ktpsync.plugins import BackendContext, PluginRegistry

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

CONTEXT = BackendContext(name="x")

GOOD = """
from ktpsync.plugins import PLUGIN_API_VERSION, BackendSpec, hookimpl
@hookimpl
def ktpsync_backends():
    yield BackendSpec(name="{name}", api_version={version}, summary="A test.", config="{config}", factory="{factory}")
"""


PROVIDER = """
from ktpsync.plugins import SecretProvider, hookimpl
@hookimpl
def ktpsync_secret_providers():
    yield SecretProvider(name="{name}", api_version=1, summary="A test.", read=__name__ + ":read")
def read(reference):
    return {{"known": "the secret"}}.get(reference)
"""


def good(name: str, version: str = "PLUGIN_API_VERSION") -> str:
    """Return the source of a plugin that offers a disk under another name."""
    target = "ktpsync.backends.disk.backend:Disk"
    return GOOD.format(name=name, version=version, config=f"{target}Settings", factory=f"{target}Backend")


def provider(name: str) -> str:
    """Return the source of a plugin that offers a secret provider."""
    return PROVIDER.format(name=name)


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


def test_two_claims_to_one_name_disable_both(plugin: Callable[[str, str], EntryPoint]) -> None:
    """Nobody's packets go to a backend that slipped in under a known name; nothing else of the two is used."""
    one = good("same") + "@hookimpl\ndef ktpsync_delivered(packet_id): raise RuntimeError\n"
    registry = PluginRegistry([plugin("one", one), plugin("two", good("same")), plugin("fine", good("fine"))])

    assert ["fine"] == list(registry.backends())
    with pytest.raises(UnknownBackendError, match="unknown:one and unknown:two both offer a backend 'same'"):
        registry.spec("same")
    assert [] == registry._manager.hook.ktpsync_delivered.get_hookimpls()


def test_two_claims_to_one_secret_provider_disable_both(plugin: Callable[[str, str], EntryPoint]) -> None:
    """Nobody's secrets are read by a plugin that slipped in under a known name."""
    registry = PluginRegistry([plugin("one", provider("vault")), plugin("two", provider("vault"))])

    assert ("env", "file") == registry.secret_sources().names
    assert ["both offer a secret provider 'vault'"] * 2 == [
        re.findall("both offer a secret provider 'vault'", info.rejected or "")[0]
        for info in registry.plugins()
    ]


def test_a_secret_provider_cannot_take_the_place_of_a_built_in_one(
    plugin: Callable[[str, str], EntryPoint],
) -> None:
    """Secrets from the environment are never handed to a plugin."""
    (info,) = PluginRegistry([plugin("env", provider("env"))]).plugins()

    assert "it offers the secret provider 'env', which is built in" == info.rejected


@pytest.mark.parametrize("name", ["bomb", "unknown", "unknown:bomb", "all", "1"])
def test_disabled_plugins_are_not_even_loaded(plugin: Callable[[str, str], EntryPoint], name: str) -> None:
    """The switch works also where loading would do harm, and can tell two plugins of one name apart."""
    source = "import sys; sys.modules['ktpsync_test_was_loaded'] = sys"
    registry = PluginRegistry([plugin("bomb", source)], disabled=frozenset({name}))

    assert ["disabled by KTPSYNC_DISABLE_PLUGINS"] == [info.rejected for info in registry.plugins()]
    assert "ktpsync_test_was_loaded" not in sys.modules


def test_the_environment_disables_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, or all at once."""
    monkeypatch.setenv("KTPSYNC_DISABLE_PLUGINS", "s3")
    assert "s3" not in PluginRegistry.load().backends()
    assert "disk" in PluginRegistry.load().backends()
    monkeypatch.setenv("KTPSYNC_DISABLE_PLUGINS", "all")
    assert {} == PluginRegistry.load().backends()


def test_a_name_that_disables_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A typing error would leave a harmful plugin running in silence."""
    PluginRegistry([], disabled=frozenset({"bom", "all"}))

    assert "KTPSYNC_DISABLE_PLUGINS names 'bom', which is no plugin" in caplog.text
    assert "'all'" not in caplog.text


def test_a_plugin_without_metadata_is_still_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that was interrupted must not take the others down."""
    information = tmp_path / "ktpsync_half-1.0.dist-info"
    information.mkdir()
    (information / "entry_points.txt").write_text("[ktpsync]\nhalf = ktpsync_half_plugin\n")
    monkeypatch.syspath_prepend(tmp_path)

    found = {
        info.name: (info.distribution, info.version, info.rejected)
        for info in PluginRegistry.load().plugins()
    }

    reason = "it failed to load: ModuleNotFoundError: No module named 'ktpsync_half_plugin'"
    assert ("unknown", "unknown", reason) == found["half"]
    assert "disk" in found


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


def test_choosing_a_backend_imports_that_one() -> None:
    """An office with a disk pays nothing for S3 and HTTP."""
    program = (
        "import sys; from ktpsync.plugins import PluginRegistry; PluginRegistry.load().backend_class('disk'); "
        "print(sorted(name for name in sys.modules if name.endswith('.backend') or name in {'boto3', 'urllib3'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "['ktpsync.backends.disk.backend']" == done.stdout.strip()


SETTINGS = """
import attrs
from ktpsync.plugins import Backend
class Plain: ...
@attrs.define
class Changeable: ...
@attrs.frozen
class Right: ...
@attrs.frozen
class Either:
    value: "str | int" = 1
@attrs.frozen
class Unknown:
    value: "NoSuchName" = 1
class NoBackend: ...
class Unfinished(Backend): ...
class NoContext(Backend):
    def __init__(self, config): ...
    def deliver(self, packet): ...
    def check(self): ...
"""


@pytest.mark.parametrize(
    ("config", "factory", "words"),
    [
        ("Plain", "NoContext", "must be a class made with @attrs.frozen"),
        ("Changeable", "NoContext", "must be a class made with @attrs.frozen"),
        (
            "Either",
            "NoContext",
            "the field 'value' of its settings .* is of a kind that cannot be read from the file: .*str . int",
        ),
        ("Unknown", "NoContext", "of a kind that cannot be read from the file: .*NoSuchName"),
        ("Missing", "NoContext", "cannot be imported from .*AttributeError"),
        ("Right", "NoBackend", "is not a subclass of ktpsync.plugins.Backend"),
        ("Right", "Unfinished", "lacks check, deliver"),
        ("Right", "NoContext", r"must take \(config, context\)"),
    ],
)
def test_what_cannot_be_a_backend_is_told(
    plugin: Callable[[str, str], EntryPoint], config: str, factory: str, words: str
) -> None:
    """The author's mistake is named with the plugin, when the backend is chosen."""
    module = plugin("parts", SETTINGS).value
    source = GOOD.format(name="odd", version="1", config=f"{module}:{config}", factory=f"{module}:{factory}")

    with pytest.raises(PluginError, match=f"'odd'.*{words}"):
        PluginRegistry([plugin("odd", source)]).make("odd", {}, CONTEXT, where="[x]", base=Path())


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import sys; sys.exit(3)", "it failed to load: SystemExit: 3"),
        (
            "import no_such_package",
            "it failed to load: ModuleNotFoundError: No module named 'no_such_package'",
        ),
        ("raise RuntimeError('a\\nb')", "it failed to load: RuntimeError: a b"),
        (
            "from ktpsync.plugins import hookimpl\n@hookimpl\ndef ktpsync_delivred(packet_id): ...",
            "it implements ktpsync_delivred, which is no hook; perhaps ktpsync_delivered",
        ),
        ("def ktpsync_backends(): ...", "its ktpsync_backends lacks @hookimpl"),
        ("x = 1", "it implements no hook"),
        (
            "from ktpsync.plugins import hookimpl\n@hookimpl(wrapper=True)\ndef ktpsync_delivered(): yield",
            "it wraps ktpsync_delivered; hooks of ktpsync cannot be wrapped",
        ),
        (
            "from ktpsync.plugins import hookimpl\n@hookimpl\ndef ktpsync_backends(): return ['disk']",
            "ktpsync_backends gives a str, not a BackendSpec",
        ),
        (good("Not A Name"), "it failed to load: ValueError: 'name' must match regex"),
        (
            GOOD.format(name="x", version="1", config="no colon", factory="a:b"),
            "config must be an import string",
        ),
        (good("x") + good("x").partition("def ktpsync_backends():")[2], "it offers x twice"),
        (
            good("x") + good("y", "2").partition("def ktpsync_backends():")[2],
            "it says that it was written for several plugin APIs: [1, 2]",
        ),
    ],
)
def test_a_plugin_that_is_wrong_is_rejected_with_the_reason(
    plugin: Callable[[str, str], EntryPoint], source: str, reason: str
) -> None:
    """By name, whatever is wrong with it; nothing of it stays registered."""
    registry = PluginRegistry([plugin("odd", source), plugin("fine", good("fine"))])

    odd, _ = registry.plugins()
    assert "fine" in registry.backends()
    assert reason in str(odd.rejected)
    assert not registry._manager.has_plugin(odd.key)


def test_a_hook_of_another_release_can_be_optional(plugin: Callable[[str, str], EntryPoint]) -> None:
    """A plugin can support a newer ktpsync and still run on this one."""
    source = (
        "from ktpsync.plugins import hookimpl\n@hookimpl(optionalhook=True)\ndef ktpsync_moon_rose(): ...\n"
    )
    (info,) = PluginRegistry([plugin("early", source)]).plugins()

    assert (None, ()) == (info.rejected, info.observes)
