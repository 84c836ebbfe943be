"""``ktpsync keys`` and ``rewrap``: whether recovery keys still work, and what to do when they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import ktpsync
from ktpsync.cli._command import FILE, command, config_option, who_option, why_option
from ktpsync.cli._exit import Exit
from ktpsync.cli._identities import read_identities
from ktpsync.cli._long_work import long_work
from ktpsync.cli._output import local_text_of, utc_text_of
from ktpsync.units import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ktpsync.cli._output import Output
    from ktpsync.office import KeyState, RotationReport

_IDENTITY = click.option(
    "--identity",
    type=FILE,
    required=True,
    help="The identity file that is kept locked away. If it is sealed, the passphrase is asked for.",
)


@click.group()
def keys() -> None:
    """See to the keys that open packets and backups."""


@keys.command("recipient")
@_IDENTITY
@command
def keys_recipient(output: Output, identity: Path) -> Exit:
    """Print the recipient of an identity that is there already, one long line for `recipients.txt`."""
    recipients = [str(one.recipient) for one in read_identities(identity)]
    for recipient in recipients:
        output.say(recipient)
    output.result({"recipients": recipients})
    return Exit.DONE


@keys.command("replace-station")
@who_option
@why_option
@config_option
@command
def keys_replace_station(output: Output, who: str, why: str, config: Path) -> Exit:
    """Make a new signing key for this station, because its own is lost, damaged or in other hands.

    Stop the service first. What was sealed before keeps its signature, and stays valid if the centre goes on
    trusting the key before. Give the new public key to the centre before anything is recorded with it.
    """
    from ktpsync.office import replace_station_key

    made = replace_station_key(config, who=who, why=why)
    output.say(f"The station has a new key, {made.key_id}. Give {made.public_key} to the centre.")
    if made.kept is not None:
        output.say(f"The key before is kept in {made.kept}.")
    output.result(
        {
            "station_key_id": made.key_id,
            "station_public_key": made.public_key,
            "before": made.before,
            "kept": made.kept,
        }
    )
    return Exit.DONE


@keys.command("test")
@_IDENTITY
@config_option
@command
def keys_test(output: Output, identity: Path, config: Path) -> Exit:
    """Show that an identity still opens what this office seals, and the newest packet.

    Do it when the office is set up, and from time to time. A lost key that is noticed in time costs nothing.
    """
    with ktpsync.Office.open(config) as office:
        report = office.test_keys(read_identities(identity))
    output.complain(report.problems)
    for state in report.tested:
        output.say(f"{state.label} opens what is sealed to it: {_uses(output, state)}.")
    if report.packet_id is not None:
        output.say(f"Packet {report.packet_id} was opened, and is whole.")
    if report.ok:
        output.say("The key works. Lock it away again; no station may keep it.")
    output.result(
        {
            "ok": report.ok,
            "recipients": [state.recipient for state in report.tested],
            "packet_id": report.packet_id,
            "problems": list(report.problems),
        }
    )
    return Exit.DONE if report.ok else Exit.PERSON


@keys.command("list")
@config_option
@command
def keys_list(output: Output, config: Path) -> Exit:
    """List to which recipients this office seals what, and when their keys were last tried."""
    with ktpsync.Office.open(config) as office:
        states = office.key_states()
    show_keys(output, states)
    output.result({"keys": keys_document(states)})
    return Exit.DONE


@click.command()
@click.argument("backups", nargs=-1, metavar="[BACKUP]...")
@_IDENTITY
@click.option(
    "--held",
    is_flag=True,
    help="Also packets that a destination holds and may ask for again: it would refuse the new bytes then.",
)
@who_option
@config_option
@command
def rewrap(
    output: Output, *, backups: tuple[str, ...], identity: Path, held: bool, who: str, config: Path
) -> Exit:
    """Give packets and backups to the recipients that the configuration names now.

    First name the new recipients in recipients.txt; packets that are recorded from then on are sealed to them.
    This does the same for what is there already: in the spool, and in all backups or in those named. Only headers
    are written anew. It can be interrupted and run again, and must be, while it ends with code 3: what is on its
    way keeps its header until it has arrived. The older snapshots of a backup go, as the former keys open them.
    """
    with ktpsync.Office.open(config) as office, long_work(output, "Rewrapping") as progress:
        report = office.rewrap(
            read_identities(identity), backups or None, who=who, held=held, progress=progress
        )
    _show(output, report)
    output.result(
        {
            "done": report.done,
            "spool": {
                "rewrapped": report.spool.rewrapped,
                "moving": report.spool.moving,
                "rejected": report.spool.rejected,
                "offloaded": report.spool.offloaded,
                "closed": report.spool.closed,
                "damaged": report.spool.damaged,
            },
            "backups": {
                name: {
                    "rewrapped": made.rewrapped,
                    "kept": made.kept,
                    "closed": made.closed,
                    "snapshots": made.snapshots,
                    "notes": made.notes,
                }
                for name, made in report.backups.items()
            },
            "away": dict(report.away),
        }
    )
    if report.spool.damaged or any(made.notes for made in report.backups.values()):
        return Exit.DAMAGED
    return Exit.DONE if report.done else Exit.WAITING


def _show(output: Output, report: RotationReport) -> None:
    spool = report.spool
    output.say(f"Spool: {counted(spool.rewrapped, 'packet has', 'packets have')} a new header.")
    if spool.moving:
        output.say(
            f"Spool: {counted(len(spool.moving), 'packet is', 'packets are')} on the way, or may be asked for again; "
            "run this again later."
        )
        output.complain(
            f"Packet {packet_id} keeps its header until a person has settled it: see `ktpsync rejected`. When it is requeued, "
            "cancelled or handled, run this again."
            for packet_id in spool.rejected
        )
    if spool.offloaded:
        output.say(
            f"Spool: {counted(spool.offloaded, 'packet is', 'packets are')} in a backup alone, and left as they are there."
        )
    if spool.closed:
        output.say(
            f"Spool: {counted(len(spool.closed), 'packet is', 'packets are')} not for this identity, and left as is."
        )
    output.warn(spool.damaged)
    for name, made in report.backups.items():
        output.say(
            f"{name}: packets with new headers, besides those from the spool: {made.rewrapped}. With the former one until "
            f"they are delivered: {made.kept}. Not for this identity: {len(made.closed)}."
        )
        output.warn(made.notes)
    output.warn(f"{name} is left for later: {reason}" for name, reason in report.away.items())
    if report.done:
        output.say(
            "Done. Whoever has the former key can still open the copies that were made before: destroy those disks."
        )


def _uses(output: Output, state: KeyState) -> str:
    return ", ".join(output.words(use) if use == "packets" else use for use in state.uses)


def show_keys(output: Output, states: Sequence[KeyState]) -> None:
    """Print to whom is sealed what, and when it was tried."""
    output.table(
        "Keys",
        ["recipient", "opens", "last tried"],
        [
            [state.label, _uses(output, state), local_text_of(state.last_test_ms) or "never"]
            for state in states
        ],
    )


def keys_document(states: Sequence[KeyState]) -> list[dict[str, object]]:
    """Return the same for a program."""
    return [
        {
            "recipient": state.recipient,
            "opens": list(state.uses),
            "last_test": utc_text_of(state.last_test_ms),
        }
        for state in states
    ]
