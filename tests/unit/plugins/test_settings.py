"""Settings from TOML values."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from attrs import field, frozen, validators

from ktpsync.errors import ConfigError
from ktpsync.plugins import ByteSize, Duration, Secret, read_settings


@frozen(kw_only=True)
class Settings:
    """What a plugin might want."""

    url: str
    token: Secret | None = None
    timeout: Duration = Duration(10)
    limit: ByteSize = ByteSize(1)
    folder: Path = Path()
    retries: int = 0
    loud: bool = False


def read(**table: object) -> Settings:
    """Return settings read from a table."""
    return read_settings(Settings, table, where="[x]", base=Path("/base"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("15m", 900), ("2h", 7200), ("1d", 86400), (5, 5), (0.5, 0.5)]
)
def test_durations_are_seconds(text: object, seconds: float) -> None:
    """People write minutes, programs get seconds."""
    assert seconds == read(url="u", timeout=text).timeout


@pytest.mark.parametrize(("text", "size"), [("64 MiB", 64 << 20), ("5 MB", 5_000_000), ("1kB", 1000), (7, 7)])
def test_sizes_are_bytes(text: object, size: int) -> None:
    """Binary and decimal units are told apart."""
    assert size == read(url="u", limit=text).limit


def test_relative_paths_start_at_the_file() -> None:
    """Not at the folder that a service happens to run in."""
    assert Path("/base/data") == read(url="u", folder="data").folder
    assert Path("/other") == read(url="u", folder="/other").folder


def test_secrets_come_from_where_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file, the environment or a file of their own."""
    monkeypatch.setenv("KTPSYNC_TEST_TOKEN", "from-env")
    (tmp_path / "token").write_text("from-file\n")

    tokens = [
        read(url="u", token=value).token
        for value in ("plain", {"env": "KTPSYNC_TEST_TOKEN"}, {"file": str(tmp_path / "token")})
    ]

    assert ["plain", "from-env", "from-file"] == [token.reveal() for token in tokens if token]


def test_secrets_are_not_shown() -> None:
    """Neither by repr, nor by str, nor by pickle."""
    settings = read(url="u", token="hush")

    assert "hush" not in f"{settings!r} {settings.token}"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(settings.token)


def test_all_problems_are_listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One run tells everything that must be corrected, by name, without values."""
    monkeypatch.delenv("KTPSYNC_TEST_TOKEN", raising=False)

    with pytest.raises(ConfigError) as caught:
        read(tokn="x", timeout="soon", limit="much", retries="3", loud=1, token={"env": "KTPSYNC_TEST_TOKEN"})

    lines = sorted(str(caught.value).split("\n  - "))
    assert [
        "[x] limit: expected a size such as 500 kB, 64 MiB or 2 GB",
        "[x] loud: expected true or false",
        "[x] retries: expected a whole number",
        "[x] timeout: expected a time such as 30s, 15m, 2h or 1d",
        "[x] token: the environment variable KTPSYNC_TEST_TOKEN is not set",
        "[x] tokn: there is no such setting; perhaps 'token'",
        "[x] url: this setting is missing",
    ] == lines


@frozen(kw_only=True)
class Strict:
    """Settings with validators of attrs, which print the value."""

    url: str = field(default="https://h/", validator=validators.matches_re(r"https://[^@]+"))
    mode: str = field(default="a", validator=validators.in_(("a", "b")))
    hosts: tuple[str, ...] = field(
        default=(), validator=validators.deep_iterable(validators.matches_re("[a-z]+"))
    )
    wait: Duration = field(default=Duration(1), validator=validators.gt(0))


def test_a_value_that_a_validator_refuses_is_not_shown() -> None:
    """It may hold a password; the rule is told."""
    table = {"url": "https://u:hunter2@host/", "mode": "hunter2", "hosts": ["hunter2"], "wait": 0}

    with pytest.raises(ConfigError) as error:
        read_settings(Strict, table, where="[x]")

    assert "hunter2" not in str(error.value)
    assert sorted(error.value.problems) == [
        "[x] hosts: 'hosts' must match regex '[a-z]+' (*** doesn't)",
        "[x] mode: 'mode' must be in ('a', 'b') (got ***)",
        "[x] url: 'url' must match regex 'https://[^@]+' (*** doesn't)",
        "[x] wait: 'wait' must be > 0: 0",
    ]
