"""The story itself: every step uses what an office uses."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from typing import TYPE_CHECKING

from attrs import frozen

import ktpsync
from ktpsync.backends.disk import init_disk
from ktpsync.cli._demo._centre import CentreProcess
from ktpsync.errors import KtpsyncError
from ktpsync.files import sha256_of
from ktpsync.office import init_office
from ktpsync.testing import make_enrollment
from ktpsync.units import amount, counted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ktpsync.cli._output import Output
    from ktpsync.office import Office

_DUPLICATE_STATUS = "DUPLICATE_RECORD"
_STATUS_SECONDS = 60.0
_POLL_SECONDS = 0.2


@frozen(kw_only=True)
class Tally:
    """What came out, counted at the centre and on the disk.

    Args:
        recorded: Packets found on the office's disk after the outage; those that ``submit`` acknowledged.
        delivered: Of these, how many the centre holds.
        repeated: Packets that took effect more than once at the centre.
        changed: Packets whose bytes at the centre are not those that were sealed.
        lost: Packets that the centre does not hold.
        stored_on_new_machine: Packets whose sealed bytes the restored office holds.
    """

    recorded: int
    delivered: int
    repeated: int
    changed: int
    lost: int
    stored_on_new_machine: int

    @property
    def ok(self) -> bool:
        """Whether every packet is at the centre exactly once, and everything was restored."""
        return (
            self.lost == self.repeated == self.changed == 0
            and self.recorded == self.delivered == self.stored_on_new_machine
        )


def play(output: Output, folder: Path, *, enrollments: int, sample_dir: Path | None) -> Tally:
    """Play the outage in a folder and return what came out.

    Raises:
        KtpsyncError: A step did not go as it must.
    """
    say = output.say
    say("1. Two key pairs: the centre's, and a recovery key that is locked away.")
    keys = folder / "safe"
    keys.mkdir()
    recipients = []
    for name in ("centre", "recovery"):
        identity = ktpsync.age.generate_identity()
        ktpsync.age.write_identity_file(keys / f"{name}.txt", identity)
        recipients.append(str(identity.recipient))

    usb = folder / "usb-a"
    usb.mkdir()
    init_disk(usb, label="demo disk")
    config = init_office(folder / "office", recipients=recipients, places=_backup_place(usb))
    public_key = config.parent / "data" / "keys" / "station.pub.pem"
    with CentreProcess(folder / "centre", keys / "centre.txt", public_key) as centre:
        say("2. The centre starts, and the office is connected.")
        centre.start()
        _append(config, _central_place(folder, centre))

        say("3. The centre goes down.")
        centre.stop()
        acknowledged = _record_through_outage(output, config, enrollments=enrollments, sample_dir=sample_dir)
        digests = _on_disk(config.parent / "data" / "spool")
        if digests != acknowledged:
            raise KtpsyncError(
                f"{len(acknowledged)} packets were acknowledged, {len(digests)} are on the disk."
            )
        _back_up_and_verify(output, config, usb, folder / "copy-of-usb-a")

        say("8. The centre comes back; the backlog drains.")
        centre.start()
        with ktpsync.Office.open(config) as office:
            with output.progress("Delivering", len(digests)) as advance:
                report = office.sync(on_delivered=lambda: advance(1))
            if report.waiting:
                raise KtpsyncError(f"{report.waiting} packets were not delivered: {report.reason}")
            _wait_for_statuses(output, office, len(digests))

        say("10. The office's machine is destroyed.")
        shutil.rmtree(config.parent / "data")
        stored = _restore_elsewhere(output, folder, centre, keys / "recovery.txt", digests)
        return _count(centre, digests, stored)


def _record_through_outage(
    output: Output, config: Path, *, enrollments: int, sample_dir: Path | None
) -> Mapping[str, str]:
    digests = {}
    with ktpsync.Office.open(config) as office:
        with output.progress(f"4. Recording goes on: {enrollments} people", enrollments) as advance:
            for number in range(enrollments):
                # The last one comes a second time, as somebody with two records does.
                person = 0 if number == enrollments - 1 else number
                packet = office.submit(make_enrollment(number, person=person, sample_dir=sample_dir))
                digests[packet.packet_id] = packet.sha256
                advance(1)
        report = office.sync()
        if report.delivered or report.waiting != enrollments:
            raise KtpsyncError(f"With the centre down, {report.waiting} of {enrollments} packets wait.")
        output.say(f"5. The centre is out of reach; {report.waiting} packets wait: {report.reason}")
    return digests


def _back_up_and_verify(output: Output, config: Path, usb: Path, copy: Path) -> None:
    with ktpsync.Office.open(config) as office:
        snapshot = office.backup("usb-a")
        output.say(
            f"6. Backed up to the external disk: {snapshot.packets} packets, {amount(snapshot.bytes_written)}."
        )
        if not office.verify("usb-a").ok:
            raise KtpsyncError("The new backup does not verify.")
        output.say("   Every byte was read back and is right.")
        shutil.copytree(usb, copy)
        pack = max(copy.rglob("*.tar"), key=lambda path: path.stat().st_size)
        with pack.open("r+b") as file:
            file.seek(pack.stat().st_size // 2)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 1]))
        report = ktpsync.verify_backup(copy)
        if report.ok:
            raise KtpsyncError("A flipped bit in a copy of the backup was not noticed.")
        output.say(f"7. One bit of a copy is flipped, and verification names it: {report.problems[0]}")


def _wait_for_statuses(output: Output, office: Office, expected: int) -> None:
    deadline = time.monotonic() + _STATUS_SECONDS
    while True:
        office.poll_statuses()
        statuses = office.registration_statuses()
        if sum(statuses.values()) == expected and statuses.keys() <= {
            _DUPLICATE_STATUS,
            "PRINT_READY_RECORD",
        }:
            break
        if time.monotonic() > deadline:
            raise KtpsyncError(f"The centre's statuses did not become final in time: {statuses}")
        time.sleep(_POLL_SECONDS)
    words = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    output.say(f"9. Statuses come in: {words}.")
    if statuses.get(_DUPLICATE_STATUS) != 1:
        raise KtpsyncError(f"One person was recorded twice; the centre says {words}.")


def _restore_elsewhere(
    output: Output, folder: Path, centre: CentreProcess, recovery: Path, digests: Mapping[str, str]
) -> int:
    new = folder / "new-machine"
    restored = ktpsync.restore(folder / "usb-a", into=new, identity=recovery)
    output.say(
        f"11. Restored on a new machine with the recovery key: {counted(len(restored.packet_ids), 'packet', 'packets')}."
    )
    config = new / "ktpsync.toml"
    _append(config, _backup_place(folder / "usb-a") + _central_place(folder, centre))
    with ktpsync.Office.open(config) as office:
        report = office.reconcile()
        output.say(
            f"12. The centre is asked what it holds: {counted(report.held, 'packet is', 'packets are')} marked as delivered."
        )
        again = office.sync()
        if again.delivered:
            raise KtpsyncError(f"{again.delivered} packets were sent a second time.")
    stored = _on_disk(new / "data" / "spool")
    return sum(stored.get(packet_id) == digest for packet_id, digest in digests.items())


def _count(centre: CentreProcess, digests: Mapping[str, str], stored: int) -> Tally:
    held = centre.inventory()
    copies = Counter(packet.packet_id for packet in held)
    return Tally(
        recorded=len(digests),
        delivered=sum(packet_id in copies for packet_id in digests),
        repeated=sum(packet.effects > 1 or copies[packet.packet_id] > 1 for packet in held),
        changed=sum(digests.get(packet.packet_id) != packet.sha256 for packet in held),
        lost=sum(packet_id not in copies for packet_id in digests),
        stored_on_new_machine=stored,
    )


def _on_disk(spool: Path) -> dict[str, str]:
    """Read back every sealed packet in a spool: packet id to SHA-256."""
    found = {}
    for path in spool.rglob("*.age"):
        with path.open("rb") as file:
            found[path.stem] = sha256_of(file)[0]
    return found


def _append(config: Path, text: str) -> None:
    config.write_text(config.read_text(encoding="utf-8") + text, encoding="utf-8")


def _backup_place(usb: Path) -> str:
    return f'[backups.usb-a]\nbackend = "disk"\npath = {str(usb)!r}\n\n'


def _central_place(folder: Path, centre: CentreProcess) -> str:
    token = folder / "office.token"
    token.write_text(centre.token, encoding="ascii")
    token.chmod(0o600)
    return f'[destinations.central]\nbackend = "http"\nurl = "{centre.url}"\ntoken = {{ file = {str(token)!r} }}\n\n'
