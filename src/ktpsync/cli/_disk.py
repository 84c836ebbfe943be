"""``ktpsync disk``: mark external disks, and see which are plugged in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ktpsync.cli._command import command
from ktpsync.cli._exit import Exit
from ktpsync.units import amount

if TYPE_CHECKING:
    from ktpsync.backends.disk import MountedDisk
    from ktpsync.cli._output import Output


@click.group()
def disk() -> None:
    """Prepare external disks, and see which are plugged in."""


@disk.command("init")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--label", default="", help="What is written on the disk's sticker, for messages.")
@command
def disk_init(output: Output, path: Path, label: str) -> Exit:
    """Mark the disk mounted at PATH, so that ktpsync writes to this disk and no other."""
    from ktpsync.backends.disk import init_disk, on_system_disk

    marker = init_disk(path, label=label)
    internal = on_system_disk(path)
    output.say(f"{path} is marked as disk {marker.uuid}. ktpsync will write to no other disk in its place.")
    if internal:
        output.say(
            f"Note: {path} is a folder on this machine's own disk. If an external disk should be there, it is not "
            f"plugged in: delete {path / 'ktpsync-disk.json'}, plug the disk in and mark it again."
        )
    output.result({"path": path, "uuid": marker.uuid, "label": marker.label, "on_system_disk": internal})
    return Exit.DONE


@disk.command("list")
@command
def disk_list(output: Output) -> Exit:
    """List the disks that are plugged in: the marked ones, and those that could be marked."""
    from ktpsync.backends.disk import mounted_disks

    found = sorted(mounted_disks(), key=lambda one: (one.marker is None, one.path))
    if not found:
        output.say("No external disk is plugged in.")
    else:
        output.table(
            "Disks",
            ["path", "label", "file system", "free", "size", "state", "uuid"],
            [
                [
                    one.path,
                    (one.marker.label if one.marker else "") or one.volume or "-",
                    one.file_system,
                    amount(one.free),
                    amount(one.size),
                    _state(one),
                    one.marker.uuid if one.marker else "-",
                ]
                for one in found
            ],
        )
    output.result({"disks": [_document(one) for one in found]})
    return Exit.PERSON if any(one.problem for one in found) else Exit.DONE


def _state(one: MountedDisk) -> str:
    state = one.problem or ("marked" if one.marker else "not marked")
    return f"{state}, read-only" if one.read_only else state


def _document(one: MountedDisk) -> dict[str, object]:
    return {
        "path": one.path,
        "label": one.marker.label if one.marker else None,
        "uuid": one.marker.uuid if one.marker else None,
        "file_system": one.file_system,
        "volume": one.volume,
        "free": one.free,
        "size": one.size,
        "read_only": one.read_only,
        "state": "damaged" if one.problem else "marked" if one.marker else "unmarked",
        "problem": one.problem or None,
    }
