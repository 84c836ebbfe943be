"""``ktpsync central``: the sandbox centre, for development and demonstrations."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ktpsync.cli._command import FILE, command
from ktpsync.cli._exit import Exit
from ktpsync.cli._identities import read_identities
from ktpsync.errors import ConfigError

if TYPE_CHECKING:
    from ktpsync.cli._output import Output


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where it keeps its packets.")
@click.option("--identity", type=FILE, required=True, help="The identity file that opens packets.")
@click.option("--station", "stations", type=FILE, multiple=True, help="A station's public key; repeatable.")
@click.option(
    "--tokens",
    type=FILE,
    help="A file with one office a line: its name, its bearer token and, if it ends, when (2026-12-31T00:00:00Z).",
)
@click.option(
    "--clients",
    type=FILE,
    help="A file with one office a line: its name, its OAuth client id and the client's secret.",
)
@click.option(
    "--token-lifetime", type=click.IntRange(min=1), default=3600, show_default=True, metavar="SECONDS"
)
@click.option("--certificate", type=FILE, help="PEM file of its TLS certificate; with --key.")
@click.option("--key", type=FILE, help="PEM file of the private key of --certificate.")
@click.option(
    "--client-ca",
    type=FILE,
    help="PEM file of the authority of client certificates; a certificate's common name is the office.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=int, default=0, help="Default: a free one, which is printed.")
@click.option("--faults", is_flag=True, help="Allow /sandbox/ requests that play outages and adjudicate.")
@command
def central(
    output: Output,
    folder: Path,
    identity: Path,
    stations: tuple[Path, ...],
    tokens: Path | None,
    clients: Path | None,
    token_lifetime: int,
    certificate: Path | None,
    key: Path | None,
    client_ca: Path | None,
    host: str,
    port: int,
    *,
    faults: bool,
) -> Exit:
    """Run a sandbox centre until stopped. Not for real records: it is a stand-in for the real one."""
    import ssl

    try:
        from ktpsync.central import CentralSettings, OAuthClient, Tls, serve
    except ImportError as error:
        raise ConfigError(
            'The sandbox centre needs more packages: pip install "ktpsync[central]".'
        ) from error
    from ktpsync.keys import StationPublicKey

    if (certificate is None) != (key is None) or (client_ca is not None and certificate is None):
        raise ConfigError("Give --certificate and --key together; --client-ca needs both.")
    if tokens is None and clients is None and client_ca is None:
        raise ConfigError("Nobody could send anything: give --tokens, --clients or --client-ca.")
    offices, expiries = ({}, {}) if tokens is None else _read_tokens(tokens)
    settings = CentralSettings(
        folder=folder,
        identities=read_identities(identity),
        tokens=offices,
        expiries=expiries,
        clients={
            client_id: OAuthClient(office=office, secret=secret)
            for office, client_id, secret in (
                [] if clients is None else _lines(clients, "name, client id, secret", 3)
            )
        },
        token_lifetime=token_lifetime,
        stations=tuple(StationPublicKey.from_pem(path.read_bytes()) for path in stations),
        tls=None
        if certificate is None or key is None
        else Tls(certificate=certificate, key=key, client_ca=client_ca),
        faults=faults,
    )

    def ready(url: str) -> None:
        output.say(f"The sandbox centre listens on {url}")
        output.result({"url": url})

    try:
        serve(settings, host=host, port=port, ready=ready)
    except ssl.SSLError as error:
        raise ConfigError(
            f"The files {certificate}, {key} or {client_ca or 'of the authority'} cannot be used for TLS: they must be PEM files, "
            f"and the key must belong to the certificate ({error.reason or error})."
        ) from error
    except OSError as error:
        raise ConfigError(f"The sandbox centre cannot listen on {host} port {port}: {error}.") from error
    return Exit.DONE


def _read_tokens(path: Path) -> tuple[dict[str, str], dict[str, datetime]]:
    """Return the office of each token, and when those end that do."""
    offices, expiries = {}, {}
    for office, token, *ends in _lines(path, "name, token and perhaps when it ends", 2, 3):
        offices[token] = office
        for text in ends:
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                raise ConfigError(f"{path}: {text!r}, when a token of {office} ends, is no time.") from None
            expiries[token] = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return offices, expiries


def _lines(path: Path, words: str, *counts: int) -> list[list[str]]:
    found, problems = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        parts = line.split()
        if not parts or parts[0].startswith("#"):
            continue
        if len(parts) in counts:
            found.append(parts)
        else:
            problems.append(f"  - line {number}")
    if problems:
        raise ConfigError("\n".join([f"{path}: expected an office's {words} in", *problems]))
    return found
