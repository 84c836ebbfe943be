"""``ktpsync init`` and ``keygen``: what is done once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

import ktpsync
from ktpsync.cli._command import FILE, command
from ktpsync.cli._exit import Exit
from ktpsync.cli._identities import new_passphrase

if TYPE_CHECKING:
    from ktpsync.cli._output import Output

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("folder", type=_PATH, default=Path())
@click.option("--recipient", "recipients", multiple=True, help="An age recipient (age1...); repeatable.")
@click.option(
    "--recipients-file",
    type=FILE,
    multiple=True,
    help="A file of age recipients, as `ktpsync keygen` prints them; repeatable.",
)
@command
def init(
    output: Output, folder: Path, recipients: tuple[str, ...], recipients_file: tuple[Path, ...]
) -> Exit:
    """Set up an office in FOLDER: configuration, station key and outbox.

    Every packet will be sealed to all the recipients given. Give at least the centre's and a recovery key
    that is locked away: without one of their private keys nobody can open a packet.
    """
    from ktpsync.config import read_recipients_file
    from ktpsync.errors import ConfigError
    from ktpsync.office import init_office, short_recipient

    texts = list(recipients)
    empty = []
    for path in recipients_file:
        found = read_recipients_file(path)
        texts += found
        empty += [] if found else [str(path)]
    if empty:
        raise ConfigError(
            f"No recipient is in {', '.join(empty)}; nothing was set up. `ktpsync keys recipient --identity FILE` prints the "
            "recipient of a key that is there already."
        )
    config = init_office(folder, recipients=texts)
    with ktpsync.Office.open(config) as office:
        key_id = office.station.key_id
        public_key = office.data.station_public_key
    output.say(f"The office is set up. Configuration: {config}")
    output.say(f"Every packet is sealed to: {', '.join(short_recipient(text) for text in texts)}.")
    if len(texts) == 1:
        alone = (
            "Packets are sealed to one key alone: if it is lost, nobody can ever open them. Add the recipient of a recovery key "
            "to recipients.txt."
        )
        output.warn([alone])
    output.say(f"Give {public_key} to the centre; it will know this station as {key_id}.")
    output.say("Next: name the centre under [destinations.central] and a disk under [backups.usb-a] in it.")
    output.say("Then show that the recovery key works: `ktpsync keys test --identity FILE`.")
    output.result(
        {"config": config, "recipients": texts, "station_key_id": key_id, "station_public_key": public_key}
    )
    return Exit.DONE


@click.command()
@click.option(
    "-o", "--output", "path", type=_PATH, required=True, help="The new identity file. Lock it away."
)
@click.option(
    "--kind",
    type=click.Choice(["hybrid", "x25519"]),
    default="hybrid",
    show_default=True,
    help="hybrid stays secret even from a future quantum computer; x25519 is what older age tools read.",
)
@click.option(
    "--pub", "public", type=_PATH, help="A new file for the recipient, for `ktpsync init --recipients-file`."
)
@click.option("--passphrase", is_flag=True, help="Ask for a passphrase and seal the file with it.")
@command
def keygen(
    output: Output, path: Path, *, kind: Literal["hybrid", "x25519"], public: Path | None, passphrase: bool
) -> Exit:
    """Make a key pair: an identity file that opens packets, and its recipient.

    The identity must not stay on a station. The recipient is printed, one long line for the
    office's `recipients.txt`; `ktpsync keygen -o recovery.txt --pub recovery.pub` writes it into a file for
    `ktpsync init --recipients-file`. Neither file is ever overwritten.
    """
    from ktpsync.errors import KeyFileError
    from ktpsync.files import write_atomic

    if public is not None and public.exists():
        raise KeyFileError(
            f"{public} exists already and is not overwritten. Choose another name; no key was made."
        )
    identity = ktpsync.age.generate_identity(kind)
    words = new_passphrase(path) if passphrase else None
    ktpsync.age.write_identity_file(path, identity, passphrase=words)
    if public is not None:
        write_atomic(public, f"{identity.recipient}\n".encode("ascii"), replace=False)
    output.note(f"The identity is in {path}. Move it to a safe place, twice; no station may keep it.")
    output.note("The recipient, one long line for recipients.txt:")
    output.say(str(identity.recipient))
    output.result({"identity_file": path, "recipient": str(identity.recipient)})
    return Exit.DONE
