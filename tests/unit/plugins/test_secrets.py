"""Secrets: where they are read from, and that they are never shown."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import re
from typing import TYPE_CHECKING

import attrs
import keyring
import keyring.backend
import keyring.errors
import pytest

from ktpsync.errors import ConfigError
from ktpsync.plugins import PluginRegistry, Secret, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.metadata import EntryPoint
    from pathlib import Path

HUSH = "hush-hush"


@attrs.frozen(kw_only=True)
class Settings:
    """Settings with a secret."""

    token: Secret


class Ring(keyring.backend.KeyringBackend):
    """A keyring of this test."""

    priority = 1  # type: ignore[assignment]  # keyring's own interface
    failure: Exception | None = None

    def get_password(self, service: str, username: str) -> str | None:
        """Return what the test put in."""
        if self.failure is not None:
            raise self.failure
        return {("ktpsync", "central"): HUSH}.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep nothing."""


@pytest.fixture
def ring() -> Iterator[Ring]:
    """The system's keyring, for the time of a test."""
    before = keyring.get_keyring()
    ring = Ring()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


def read(token: object, registry: PluginRegistry | None = None) -> Secret:
    """Return the token read from a value of the file."""
    sources = (registry or PluginRegistry.load()).secret_sources()
    return read_settings(Settings, {"token": token}, where="[x]", secrets=sources).token


def test_a_secret_comes_from_the_keyring(ring: Ring) -> None:
    """The shipped provider, through the same hook as anybody's."""
    assert HUSH == read({"keyring": "ktpsync/central"}).reveal()


@pytest.mark.parametrize(
    ("reference", "failure", "words"),
    [
        ("ktpsync/other", None, "no entry 'ktpsync/other'; add it with: keyring set ktpsync other"),
        ("ktpsync", None, 'expected { keyring = "service/name" }'),
        ("a/b", keyring.errors.KeyringLocked("x"), "locked; unlock it"),
        ("a/b", keyring.errors.NoKeyringError("x"), "a service without a desktop takes"),
        ("a/b", keyring.errors.KeyringError(HUSH), "cannot be read (KeyringError)"),
    ],
)
def test_what_keeps_the_keyring_from_answering_is_told(
    ring: Ring, reference: str, failure: Exception | None, words: str
) -> None:
    """Each with what to do."""
    ring.failure = failure

    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        read({"keyring": reference})

    assert HUSH not in str(caught.value)


def test_without_the_keyring_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One command is missing, and it is told."""
    monkeypatch.setitem(__import__("sys").modules, "keyring", None)

    with pytest.raises(ConfigError, match=r'pip install "ktpsync\[keyring\]"'):
        read({"keyring": "ktpsync/central"})


PROVIDER = """
from ktpsync.plugins import SecretProvider, hookimpl
@hookimpl
def ktpsync_secret_providers():
    yield SecretProvider(name="vault", api_version=1, summary="A test.", read={target})
def read(reference):
    if reference == "broken":
        raise RuntimeError("hush-hush")
    return {{"known": "hush-hush"}}.get(reference)
not_callable = 1
"""


def vault(plugin: Callable[[str, str], EntryPoint], target: str = '__name__ + ":read"') -> PluginRegistry:
    """Return a registry with a secret provider of somebody else's."""
    return PluginRegistry([plugin("vault", PROVIDER.format(target=target))])


def test_a_plugin_can_offer_secrets(plugin: Callable[[str, str], EntryPoint]) -> None:
    """Its name stands in the file."""
    assert HUSH == read({"vault": "known"}, vault(plugin)).reveal()


@pytest.mark.parametrize(
    ("value", "target", "words"),
    [
        ({"vault": "unknown"}, '__name__ + ":read"', "vault has no entry 'unknown'"),
        ({"vault": "broken"}, '__name__ + ":read"', "reading it from vault failed (RuntimeError)"),
        ({"vault": 3}, '__name__ + ":read"', 'expected { vault = "..." }'),
        ({"vault": "known"}, '"no_such_package:read"', "'vault' needs the package 'no_such_package'"),
        ({"vault": "known"}, '__name__ + ":not_callable"', "is no function"),
        (
            {"valt": "known"},
            '__name__ + ":read"',
            '{ env = "NAME" } or { file = "path" } or { vault = "..." }',
        ),
        ({"env": "A", "file": "b"}, '__name__ + ":read"', "a text or { env"),
    ],
)
def test_what_keeps_a_provider_from_answering_is_told(
    plugin: Callable[[str, str], EntryPoint], value: object, target: str, words: str
) -> None:
    """With its name, and without whatever text its exceptions carry."""
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        read(value, vault(plugin, target))

    assert HUSH not in str(caught.value)
    assert caught.value.__cause__ is None


def test_providers_are_imported_only_when_a_setting_names_them(
    plugin: Callable[[str, str], EntryPoint],
) -> None:
    """A broken one does no harm to an office that does not use it."""
    registry = vault(plugin, '"no_such_package:read"')

    assert HUSH == read(HUSH, registry).reveal()
    assert ("env", "file", "vault") == registry.secret_sources().names


def test_empty_secrets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable or file that somebody forgot to fill is told as that, not as a wrong token."""
    monkeypatch.setenv("KTPSYNC_TEST_EMPTY", "")
    (tmp_path / "token").write_text("\n")

    for value, words in (
        ({"env": "KTPSYNC_TEST_EMPTY"}, "the environment variable KTPSYNC_TEST_EMPTY is empty"),
        ({"file": str(tmp_path / "token")}, "token is empty"),
        ({"file": str(tmp_path / "other")}, "cannot be read: No such file"),
    ):
        with pytest.raises(ConfigError, match=words):
            read(value)


def test_files_written_on_windows_are_read(tmp_path: Path) -> None:
    """A byte order mark and line ends are not part of the secret."""
    (tmp_path / "token").write_bytes("\ufeffhush-hush\r\n".encode())

    assert HUSH == read({"file": str(tmp_path / "token")}).reveal()


def test_secrets_are_masked_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    """In messages, reprs, logs, JSON, dictionaries and copies; comparing them still works."""
    settings = Settings(token=Secret(HUSH))
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").info("%s %r", settings, settings.token)
    shown = [
        f"{settings} {settings!r} {settings.token!s:>20}",
        json.dumps(attrs.asdict(settings), default=str),
        str(attrs.asdict(settings)),
        repr(copy.deepcopy(settings)),
        repr(attrs.evolve(settings)),
        caplog.text,
    ]

    assert [] == [text for text in shown if HUSH in text]
    assert (Secret(HUSH), {Secret(HUSH)}) == (copy.deepcopy(settings).token, {settings.token})
    assert Secret("other") != settings.token
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(settings.token)
