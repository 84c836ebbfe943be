"""Every hook is documented with an example that works, and is called in the life of an office."""

from __future__ import annotations

import inspect
import re
import textwrap
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pluggy
import pytest

import ktpsync
from ktpsync.central import CentralSettings, running
from ktpsync.keys import StationPublicKey
from ktpsync.plugins import BackendSpec, Observers, SecretProvider, hookimpl
from ktpsync.plugins import _hookspecs as hookspecs
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable

HOOKS = {
    name: hook
    for name, hook in vars(hookspecs).items()
    if name.startswith("ktpsync_") and hasattr(hook, "ktpsync_spec")
}

EVENTS: dict[str, tuple[str, tuple[object, ...]]] = {
    "ktpsync_packet_submitted": ("packet_submitted", ("id-1", "ab" * 32, 300_000)),
    "ktpsync_delivered": ("delivered", ("id-1", "central")),
    "ktpsync_rejected": ("rejected", ("id-1", "central", "quota", "No room.")),
    "ktpsync_paused": ("paused", ("central", "The token expired.")),
    "ktpsync_status_changed": ("status_changed", ("id-1", "DUPLICATE_RECORD", None)),
    "ktpsync_backup_finished": ("backup_finished", ("usb-a", "20260101-x", 7)),
    "ktpsync_backup_overdue": ("backup_overdue", ("usb-b", "Plug in usb-b.")),
}


def example_of(hook: Callable[..., object]) -> str:
    """Return the Python code of the example in a hook's docstring."""
    (code,) = re.findall(r"```python\n(.*?)```", inspect.getdoc(hook) or "", flags=re.DOTALL)
    return textwrap.dedent(code)


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented(name: str) -> None:
    """What it is for, each argument, and on the page that is made of them."""
    hook = HOOKS[name]
    documentation = inspect.getdoc(hook) or ""
    page = (Path(__file__).parents[2] / "docs" / "plugins" / "hooks.md").read_text(encoding="utf-8")

    assert documentation.partition("\n")[0].endswith(".")
    arguments = list(inspect.signature(hook).parameters)
    assert arguments == re.findall(r"^ {4}(\w+): \S", documentation.partition("Args:")[2], flags=re.MULTILINE)
    assert ("Returns:" in documentation) == (not arguments)
    assert "::: ktpsync.plugins._hookspecs" in page


@pytest.mark.parametrize("name", HOOKS)
def test_the_example_of_every_hook_works(name: str) -> None:
    """It is what people copy."""
    counters: dict[str, int] = {"recorded": 0, "bytes": 0, "delivered to central": 0, "copied to usb-a": 0}
    messages: list[str] = []
    plugin = ModuleType("example")
    vars(plugin).update(
        hookimpl=hookimpl,
        BackendSpec=BackendSpec,
        SecretProvider=SecretProvider,
        counters=counters,
        messages=messages,
    )
    exec(compile(example_of(HOOKS[name]), name, "exec"), vars(plugin))  # noqa: S102 - the example is the subject
    manager = pluggy.PluginManager("ktpsync")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name="example")
    if name not in EVENTS:
        ((offered,),) = getattr(manager.hook, name)()
        assert {"sftp", "pass"} & {offered.name}
        return

    notify = Observers(manager)
    method, arguments = EVENTS[name]
    getattr(notify, method)(*arguments)
    notify.close()

    assert sum(counters.values()) + len(messages) > 0


PLUGIN = """
from attrs import frozen
from ktpsync.errors import AuthError, RejectedError
from ktpsync.plugins import Backend, BackendSpec, Health, SecretProvider, hookimpl

called = []

@frozen(kw_only=True)
class Settings:
    pass

class Refusing(Backend):
    error = RejectedError
    def __init__(self, settings, context): pass
    def check(self): return Health(summary="Well.")
    def deliver(self, packet): raise self.error("No, on purpose.")

class Locked(Refusing):
    error = AuthError

@hookimpl
def ktpsync_backends():
    called.append(("ktpsync_backends", ()))
    for name in ("refusing", "locked"):
        yield BackendSpec(name=name, api_version=1, summary="A test.", config=f"{__name__}:Settings",
                          factory=f"{__name__}:{name.capitalize()}")

@hookimpl
def ktpsync_secret_providers():
    called.append(("ktpsync_secret_providers", ()))
    yield SecretProvider(name="known", api_version=1, summary="A test.", read=f"{__name__}:read")

def read(reference):
    return {"central": "right"}.get(reference)
"""


def announce(folder: Path, name: str, source: str) -> None:
    """Install a plugin as a package manager does: a module, and a distribution that announces it."""
    observing = "".join(
        f"\n@hookimpl\ndef {hook}({', '.join(arguments)}):\n    called.append(('{hook}', ({', '.join(arguments)},)))\n"
        for hook in EVENTS
        for arguments in [list(inspect.signature(HOOKS[hook]).parameters)]
    )
    (folder / f"{name}.py").write_text(source + observing, encoding="utf-8")
    information = folder / f"{name}-1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (information / "entry_points.txt").write_text(f"[ktpsync]\nwatch = {name}\n")


def serve_until(office: ktpsync.Office, happened: Callable[[], bool]) -> None:
    """Run the service until something happened."""
    stop = threading.Event()
    service = threading.Thread(target=office.run, args=(stop,))
    service.start()
    for _ in range(600):
        if happened() or not service.is_alive():
            break
        stop.wait(0.05)
    stop.set()
    service.join()


def test_every_hook_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one day of an office, with the facts that the docstrings promise."""
    (tmp_path / "site").mkdir()
    announce(tmp_path / "site", "ktpsync_test_watch", PLUGIN)
    monkeypatch.syspath_prepend(tmp_path / "site")
    import ktpsync_test_watch  # type: ignore[import-not-found]  # written above

    identity = ktpsync.age.generate_identity("x25519")
    ktpsync.init_disk(tmp_path / "usb-a")
    config = ktpsync.init_office(tmp_path / "office", recipients=[str(identity.recipient)], places="")
    public_key = StationPublicKey.from_pem((config.parent / "data/keys/station.pub.pem").read_bytes())
    centre = CentralSettings(
        folder=tmp_path / "centre", identities=[identity], tokens={"right": "3578"}, stations=[public_key]
    )
    with running(centre) as url:
        places = (
            f'[destinations.central]\nbackend = "http"\nurl = "{url}"\ntoken = {{ known = "central" }}\n'
            '[destinations.no]\nbackend = "refusing"\n[destinations.closed]\nbackend = "locked"\n'
            f"[backups.usb-a]\nbackend = \"disk\"\npath = '{tmp_path / 'usb-a'}'\n"
            f'[backups.usb-b]\nbackend = "disk"\npath = \'{tmp_path / "drawer"}\'\nmax_age = "1h"\n'
        )
        config.write_text(config.read_text() + places)
        with ktpsync.Office.open(config) as office:
            packet = office.submit(make_enrollment(1, size=4000)).packet
            office.sync()
            office.poll_statuses()
            snapshots = office.backup("usb-a").snapshots
            serve_until(office, lambda: "ktpsync_backup_overdue" in dict(ktpsync_test_watch.called))

    called = dict(reversed(ktpsync_test_watch.called))
    assert set(HOOKS) == set(called)
    assert (packet.packet_id, packet.sha256, packet.size) == called["ktpsync_packet_submitted"]
    assert (packet.packet_id, "central") == called["ktpsync_delivered"]
    assert (packet.packet_id, "no", "rejected", "No, on purpose.") == called["ktpsync_rejected"]
    assert "usb-b" == called["ktpsync_backup_overdue"][0]
    assert ("closed", "No, on purpose.") == called["ktpsync_paused"]
    assert (packet.packet_id, None) == called["ktpsync_status_changed"][::2]
    assert [("usb-a", snapshots[-1], 1)] == [
        facts for hook, facts in ktpsync_test_watch.called if hook == "ktpsync_backup_finished"
    ][-1:]


def test_a_hanging_observer_does_not_keep_an_office_from_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything is delivered while the plugin hangs, and the log names it."""
    source = (
        "import threading\nfrom ktpsync.plugins import hookimpl\nfree = threading.Event()\n"
        "@hookimpl\ndef ktpsync_delivered(): free.wait(60)\n"
        "@hookimpl\ndef ktpsync_packet_submitted(): raise RuntimeError('oops')\n"
    )
    (tmp_path / "site").mkdir()
    announce(tmp_path / "site", "ktpsync_test_hangs", "called = []\n")
    (tmp_path / "site" / "ktpsync_test_hangs.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path / "site")
    identity = ktpsync.age.generate_identity("x25519")
    ktpsync.init_disk(tmp_path / "usb-a")
    places = f"[destinations.usb-a]\nbackend = \"disk\"\npath = '{tmp_path / 'usb-a'}'\n"
    config = ktpsync.init_office(tmp_path / "office", recipients=[str(identity.recipient)], places=places)

    with ktpsync.Office.open(config) as office:
        office._registry.notify._deadline = 0.05
        for number in range(3):
            office.submit(make_enrollment(number, size=4000))
        report = office.sync()
        named = (
            "Plugin ktpsync_test_hangs:watch has not come back from ktpsync_delivered",
            "Plugin ktpsync_test_hangs:watch failed in ktpsync_packet_submitted",
        )
        for _ in range(6000):
            if all(line in caplog.text for line in named):
                break
            time.sleep(0.01)

    import ktpsync_test_hangs  # type: ignore[import-not-found]  # written above

    ktpsync_test_hangs.free.set()
    assert [3] == [line.delivered for line in report.destinations]
    assert [] == [line for line in named if line not in caplog.text]
