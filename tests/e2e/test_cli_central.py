"""``ktpsync central`` as a process of its own, with all kinds of offices; and what it refuses at the start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trustme
from click.testing import CliRunner

from ktpsync import age
from ktpsync.backends.http.backend import HttpBackend, HttpSettings, OAuthSettings
from ktpsync.cli._main import main
from ktpsync.errors import AuthError
from ktpsync.plugins import BackendContext, Secret

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with every file that the command can be given."""
    age.write_identity_file(tmp_path / "identity.txt", age.generate_identity("x25519"))
    (tmp_path / "tokens.txt").write_text(
        "# office token until\n3578 right-token\n\n3579 ended 2017-03-17T00:00:00Z\n3579 lasting 2999-01-01\n"
    )
    (tmp_path / "clients.txt").write_text("3580 client secret\n")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "centre.pem")
    )
    office = authority.issue_cert("office.example", common_name="3581")
    office.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "office.pem"))
    return tmp_path


def test_all_kinds_of_offices_reach_it_over_tls(folder: Path) -> None:
    """Tokens, client credentials and certificates from files; SIGTERM ends it in good order."""
    arguments = [
        *("--folder", folder / "centre", "--identity", folder / "identity.txt", "--json"),
        *("--tokens", folder / "tokens.txt", "--clients", folder / "clients.txt"),
        *(
            "--certificate",
            folder / "centre.pem",
            "--key",
            folder / "centre.pem",
            "--client-ca",
            folder / "ca.pem",
        ),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "ktpsync", "central", *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        text = ""
        while not text.endswith("}\n"):
            text += process.stdout.readline()
        url = json.loads(text)["url"]
        oauth = OAuthSettings(
            token_url=f"{url}oauth/token", client_id="client", client_secret=Secret("secret")
        )
        ways: list[dict[str, object]] = [
            {"token": Secret("right-token")},
            {"token": Secret("lasting")},
            {"oauth": oauth},
            {"client_certificate": folder / "office.pem"},
        ]
        for way in ways:
            settings = HttpSettings(url=url, ca_file=folder / "ca.pem", **way)  # type: ignore[arg-type]
            with HttpBackend(settings, BackendContext(name="central")) as client:
                assert client.check().summary
        ended = HttpSettings(url=url, ca_file=folder / "ca.pem", token=Secret("ended"))
        with (
            HttpBackend(ended, BackendContext(name="central")) as client,
            pytest.raises(AuthError, match="expired"),
        ):
            client.check()
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=60)

    assert process.returncode in {0, -signal.SIGTERM}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "Nobody could send anything"),
        (["--tokens", "tokens.txt", "--certificate", "centre.pem"], "--certificate and --key together"),
        (["--client-ca", "ca.pem"], "--client-ca needs both"),
        (["--tokens", "bad.txt"], "line 1\n  - line 3"),
        (["--tokens", "never.txt"], "'never', when a token of 3578 ends, is no time"),
        (["--tokens", "tokens.txt", "--certificate", "ca.pem", "--key", "tokens.txt"], "cannot be used"),
        (["--tokens", "tokens.txt", "--host", "192.0.2.1"], "cannot listen on 192.0.2.1"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    """With the file, every line at once, and nothing secret."""
    monkeypatch.chdir(folder)
    (folder / "bad.txt").write_text("3578\n3579 secret-token\na b c d\n")
    (folder / "never.txt").write_text("3578 secret-token never\n")

    result = CliRunner().invoke(
        main, ["central", "--folder", "centre", "--identity", "identity.txt", *options]
    )

    assert 0 != result.exit_code
    assert words in result.output
    assert "secret-token" not in result.output
