"""Two machines that share an outbox on PostgreSQL and a spool in a bucket."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen

import ktpsync
from command_line import DAMAGED, DONE, USAGE, run
from ktpsync.backends.disk import init_disk
from ktpsync.cli._status import _disk
from ktpsync.config import load
from ktpsync.errors import NoMatchingIdentityError, SpoolUnavailableError, UnavailableError
from ktpsync.office._check import check_places
from ktpsync.outbox import DeliveryState
from ktpsync.outbox._copies import Copies
from ktpsync.outbox._rewrap_storage import StorageSwitch
from ktpsync.plugins import PluginRegistry, Receipt
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable

    from ktpsync.outbox import DeliveryView
    from ktpsync.packet import SealedPacket


@frozen
class Machines:
    """Two offices of one outbox, and what lies between them and the bucket."""

    first: Path
    second: Path
    identity: ktpsync.age.Identity
    line: Any
    client: Any
    bucket: str
    centre: Path

    def objects(self) -> dict[str, bytes]:
        """Return the sealed packets in the bucket."""
        listed = self.client.list_objects_v2(Bucket=self.bucket, Prefix="office/spool/").get("Contents", [])
        return {
            entry["Key"]: self.client.get_object(Bucket=self.bucket, Key=entry["Key"])["Body"].read()
            for entry in listed
        }

    def key(self, packet_id: str) -> str:
        """Return the key of a packet's object."""
        return f"office/spool/{packet_id[-2:]}/{packet_id}.age"

    def delivered(self) -> dict[str, str]:
        """Return what is at the destination: packet ids and digests."""
        found = self.centre.rglob("*.age")
        return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Any:
    """The storage; a test may name others."""
    return request.getfixturevalue(getattr(request, "param", "moto_server"))


@pytest.fixture
def machines(
    *,
    tmp_path: Path,
    server: Any,
    make_bucket: Callable[..., dict[str, object]],
    new_line: Callable[[str | None], Any],
    new_client: Callable[[Any], Any],
    new_postgresql: Callable[[], str],
) -> Machines:
    """Two offices with data folders of their own."""
    bucket = make_bucket(server)
    line = new_line(server.url)
    spool = {**bucket, "prefix": "office/", "endpoint": line.url, "connect_timeout": 2, "read_timeout": 5}
    init_disk(tmp_path / "centre")
    init_disk(tmp_path / "backups")
    identity = ktpsync.age.generate_identity()
    places = "".join(
        [
            '[spool]\nbackend = "s3"\n',
            *(f"{name} = {value!r}\n" for name, value in spool.items()),
            f'[destinations.centre]\nbackend = "disk"\npath = "{tmp_path / "centre"}"\n',
            f'[backups.usb]\nbackend = "disk"\npath = "{tmp_path / "backups"}"\n',
        ]
    )
    database = new_postgresql()
    configs = []
    for name in ("first", "second"):
        config = ktpsync.init_office(tmp_path / name, recipients=[str(identity.recipient)], places=places)
        text = config.read_text(encoding="utf-8")
        config.write_text(
            text.replace("[office]\n", f'[office]\ndatabase = "{database}"\n'), encoding="utf-8"
        )
        configs.append(config)
    return Machines(
        *configs, identity, line, new_client(bucket), str(bucket["bucket"]), tmp_path / "centre" / "packets"
    )


def deliveries(office: ktpsync.Office) -> list[DeliveryView]:
    """Return all deliveries."""
    return list(office.deliveries())


def test_one_records_and_the_other_delivers_and_backs_up(machines: Machines) -> None:
    """What one machine has recorded the other one delivers and backs up, from the bucket; no file of it is left on either."""
    with ktpsync.Office.open(machines.first) as first, ktpsync.Office.open(machines.second) as second:
        stored = first.submit_many([make_enrollment(seed, size=3000) for seed in range(3)])
        packets = {one.packet_id: one.sha256 for one in stored if not isinstance(one, Exception)}
        assert packets == {
            Path(key).stem: hashlib.sha256(data).hexdigest() for key, data in machines.objects().items()
        }
        assert (3, 0) == (second.sync().delivered, first.sync().waiting)
        assert packets == machines.delivered()
        assert 3 == second.backup("usb").packets
        assert second.verify("usb").ok
        assert second.outbox.examine(read=True).problems == ()
        assert second.storage().free is None
        assert "in storage" in _disk(second.storage())
        assert first.test_keys([machines.identity])
    assert [] == [path for root in (machines.first, machines.second) for path in root.parent.rglob("*.age")]


def test_a_bucket_that_is_away_while_recording(machines: Machines) -> None:
    """Nothing is acknowledged, nothing half written, and the next one is recorded once it is back."""
    with ktpsync.Office.open(machines.first) as office:
        office.submit(make_enrollment(1, size=2000))
        upstream, machines.line.upstream = machines.line.upstream, "http://127.0.0.1:1"
        with pytest.raises(SpoolUnavailableError, match="Nothing was recorded; submit again"):
            office.submit(make_enrollment(2, size=2000))
        refused = office.submit_many([make_enrollment(seed, size=2000) for seed in (3, 4)])
        assert [SpoolUnavailableError] * 2 == [type(error) for error in refused]
        assert all("Nothing was recorded" in str(error) for error in refused)
        machines.line.upstream = upstream
        assert 1 == len(list(office.outbox.packets())) == len(machines.objects())
        assert office.submit(make_enrollment(2, size=2000)).created
        assert 2 == office.sync().delivered


def test_an_office_opens_and_tells_while_the_bucket_is_away(machines: Machines) -> None:
    """How the packets stand is in the database; the check of the spool says what is wrong with it."""
    with ktpsync.Office.open(machines.first) as office:
        office.submit(make_enrollment(1, size=2000))
    (well,) = check_places(load(machines.first), PluginRegistry.load(), "spool")
    assert well.health is not None
    machines.line.upstream = "http://127.0.0.1:1"
    (away,) = check_places(load(machines.first), PluginRegistry.load(), "spool")
    assert ("[spool]", UnavailableError) == (away.place, type(away.error))
    with ktpsync.Office.open(machines.second) as office:
        assert [1] == [line.pending for line in office.summary()]


def test_a_bucket_that_is_away_while_delivering(machines: Machines) -> None:
    """Packets wait, it costs none of them an attempt, and they go once the bucket is back."""
    with ktpsync.Office.open(machines.first) as office:
        office.submit_many([make_enrollment(seed, size=2000) for seed in range(2)])
        upstream, machines.line.upstream = machines.line.upstream, "http://127.0.0.1:1"
        report = office.sync()
        assert (0, 2) == (report.delivered, report.waiting)
        waiting = [(view.state, view.attempts, view.failures) for view in deliveries(office)]
        assert [(DeliveryState.PENDING, 0, 0)] * 2 == waiting
        assert all("spool" in (view.reason or "") for view in deliveries(office))
        machines.line.upstream = upstream
        assert 2 == office.sync().delivered


def test_a_missing_and_a_damaged_object(machines: Machines) -> None:
    """Both are set aside with a clear reason and hold up nothing; with good bytes in the bucket again they go on."""
    with ktpsync.Office.open(machines.first) as office:
        stored = [office.submit(make_enrollment(seed, size=2000)) for seed in range(3)]
        missing, damaged, whole = (one.packet_id for one in stored)
        objects = machines.objects()
        machines.client.delete_object(Bucket=machines.bucket, Key=machines.key(missing))
        good = objects[machines.key(damaged)]
        machines.client.put_object(
            Bucket=machines.bucket, Key=machines.key(damaged), Body=good[:-1] + bytes([good[-1] ^ 1])
        )
        assert 1 == office.sync().delivered
        assert {whole} == machines.delivered().keys()
        found = {view.packet_id: view for view in office.rejected()}
        assert {missing: "damaged", damaged: "damaged"} == {name: view.code for name, view in found.items()}
        assert "not in the spool" in str(found[missing].reason)
        assert "`ktpsync doctor --repair` brings a good copy" in str(found[damaged].reason)
        for packet_id in (missing, damaged):
            key = machines.key(packet_id)
            machines.client.put_object(Bucket=machines.bucket, Key=key, Body=objects[key])
            office.requeue(packet_id, "centre", who="budi", why="the object is back")
        assert 2 == office.sync().delivered


def test_good_copies_are_brought_back(machines: Machines) -> None:
    """From a backup, under a key that is whole; the damaged bytes are kept, the trail tells, and another machine delivers."""
    with ktpsync.Office.open(machines.first) as first, ktpsync.Office.open(machines.second) as second:
        stored = [first.submit(make_enrollment(seed, size=2000)) for seed in range(3)]
        missing, damaged, _ = (one.packet_id for one in stored)
        first.backup("usb")
        before = machines.objects()
        machines.client.delete_object(Bucket=machines.bucket, Key=machines.key(missing))
        machines.client.put_object(Bucket=machines.bucket, Key=machines.key(damaged), Body=b"not these bytes")
        assert 2 == len(second.outbox.examine().problems)
        assert 1 == second.sync().delivered

        report = first.mend(read=True, who="budi", why="the storage lost them")

        assert {missing: ("missing", "usb"), damaged: ("damaged", "usb")} == {
            packet.packet_id: (packet.problem, packet.source) for packet in report.packets
        }
        assert report.ok
        assert sorted(before.values()) == sorted(machines.objects().values())
        (kept,) = machines.client.list_objects_v2(
            Bucket=machines.bucket, Prefix=f"office/spool-quarantine/{damaged[-2:]}/{damaged}", MaxKeys=1
        )["Contents"]
        body = machines.client.get_object(Bucket=machines.bucket, Key=kept["Key"])["Body"]
        assert b"not these bytes" == body.read()
        told = [entry for entry in first.outbox.audit.entries() if entry.event == "mended"]
        assert {(missing, "budi"), (damaged, "budi")} == {(entry.packet_id, entry.who) for entry in told}
        assert () == second.outbox.examine(read=True).problems
        assert 2 == second.sync().delivered
        assert {one.packet_id: one.sha256 for one in stored} == machines.delivered()


def give_to(config: Path, identity: ktpsync.age.Identity) -> None:
    """Name another recipient in an office's configuration."""
    (config.parent / "recipients.txt").write_text(f"{identity.recipient}\n", encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("server", ["moto_server", "rclone_server"], indirect=True)
def test_keys_are_rotated(machines: Machines) -> None:
    """One machine gives all packets in the bucket new headers; the other one, which has been open, delivers them."""
    new = ktpsync.age.generate_identity()
    with ktpsync.Office.open(machines.second) as second:
        with ktpsync.Office.open(machines.first) as first:
            stored = [first.submit(make_enrollment(seed, size=2000)) for seed in range(20)]
            first.backup("usb")
        give_to(machines.first, new)
        with ktpsync.Office.open(machines.first) as first:
            report = first.rewrap([machines.identity], who="budi")
            assert (20, True) == (report.spool.rewrapped, report.done)
            assert first.verify("usb").ok
        rows = {view.packet_id: view.sha256 for view in second.outbox.packets()}
        objects = machines.objects()
        assert {one.packet_id for one in stored} == rows.keys()
        assert sorted(rows.values()) == sorted(hashlib.sha256(data).hexdigest() for data in objects.values())
        assert () == second.outbox.examine(read=True).problems
        assert 20 == second.sync().delivered
        assert rows == machines.delivered()
    for data in objects.values():
        assert ktpsync.age.decrypt(data, [new])
        with pytest.raises(NoMatchingIdentityError):
            ktpsync.age.decrypt(data, [machines.identity])


@pytest.mark.slow
@pytest.mark.parametrize("step", ["stage", "switch", "end"])
def test_a_bucket_that_goes_away_while_keys_are_rotated(
    machines: Machines, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every packet is whole under the digest of its row, once the bucket is back; run again, the rotation goes on."""
    new = ktpsync.age.generate_identity()
    give_to(machines.first, new)
    with ktpsync.Office.open(machines.second) as second:
        stored = [second.submit(make_enrollment(seed, size=2000)) for seed in range(3)]
    upstream = machines.line.upstream
    done = getattr(StorageSwitch, step)

    def cut_before(switch: StorageSwitch, changes: Any) -> None:
        machines.line.upstream = "http://127.0.0.1:1"
        done(switch, changes)

    with ktpsync.Office.open(machines.first) as first:
        with monkeypatch.context() as patch:
            patch.setattr(StorageSwitch, step, cut_before)
            with pytest.raises(SpoolUnavailableError):
                first.rewrap([machines.identity], who="budi")
        machines.line.upstream = upstream
        assert () == first.outbox.examine(read=True).problems
        rows = {view.packet_id: view.sha256 for view in first.outbox.packets()}
        assert (step == "end") == ({one.sha256 for one in stored}.isdisjoint(rows.values()))
        assert first.rewrap([machines.identity], who="budi").done
        assert () == first.outbox.examine(read=True).problems
        assert 3 == len(machines.objects())
        assert 3 == first.sync().delivered


def test_what_another_machine_is_carrying_keeps_its_object(machines: Machines) -> None:
    """A packet that is leased there keeps its object and its header, until it has arrived."""
    new = ktpsync.age.generate_identity()
    with ktpsync.Office.open(machines.second) as second:
        carried, waiting = (second.submit(make_enrollment(seed, size=2000)) for seed in range(2))
        (lease,) = second.outbox.claim("centre", 1, 60)
        assert carried.packet_id == lease.packet.packet_id
        give_to(machines.first, new)
        with ktpsync.Office.open(machines.first) as first:
            report = first.rewrap([machines.identity], who="budi")
            assert ([carried.packet_id], 1) == (report.spool.moving, report.spool.rewrapped)
            with second.outbox.spool.at_hand(lease.packet) as here, here.open() as file:
                assert carried.sha256 == hashlib.sha256(file.read()).hexdigest()
            second.outbox.settle(
                lease, Receipt.of(carried.packet, sha256=carried.sha256, stored_at=datetime.now(UTC))
            )
            assert 1 == first.rewrap([machines.identity], who="budi").spool.rewrapped
        with pytest.raises(SpoolUnavailableError, match="was given a new header a moment ago"):
            second.outbox.spool.packet(waiting.packet_id, waiting.sha256, waiting.size).open()
        assert 1 == second.sync().delivered


def test_a_backup_elsewhere_meets_packets_that_have_just_changed(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so and takes nothing for damaged; run again, it has the new bytes."""
    with ktpsync.Office.open(machines.second) as second:
        second.submit_many([make_enrollment(seed, size=2000) for seed in range(2)])
        give_to(machines.first, ktpsync.age.generate_identity())
        listed = Copies.uncopied
        rewrapped: list[int] = []

        def list_and_change(copies: Copies, repository: str) -> list[SealedPacket]:
            packets = list(listed(copies, repository))
            with ktpsync.Office.open(machines.first) as first:
                rewrapped.append(first.rewrap([machines.identity], who="budi").spool.rewrapped)
            return packets

        with monkeypatch.context() as patch:
            patch.setattr(Copies, "uncopied", list_and_change)
            with pytest.raises(SpoolUnavailableError, match="Nothing is damaged"):
                second.backup("usb")
        assert 2 == rewrapped[0]
        report = second.backup("usb")
        assert (2, True) == (report.packets, second.verify("usb").ok)
        assert () == report.damaged


def test_a_database_that_is_lost(
    machines: Machines, new_postgresql: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every packet in the bucket gets its rows in a new database and is delivered, once a person says so."""
    monkeypatch.setattr("ktpsync.outbox._recovery.RECOVERY_AGE_MS", -60_000)
    with ktpsync.Office.open(machines.first) as office:
        stored = {office.submit(make_enrollment(seed, size=2000)).packet_id for seed in range(3)}
    text = machines.first.read_text(encoding="utf-8")
    database = re.sub(r'database = ".*"', f'database = "{new_postgresql()}"', text)
    machines.first.write_text(database, encoding="utf-8")

    refused = run("status", "--config", machines.first)
    assert DAMAGED == refused.code
    assert "`ktpsync doctor --recover`" in refused.err
    assert USAGE == run("doctor", "--recover", "--config", machines.first).code
    assert USAGE == run("doctor", "--dry-run", "--config", machines.first).code
    asked = run("doctor", "--recover", "--dry-run", "--config", machines.first)
    assert (DONE, 3) == (asked.code, asked.out.count("not known to the database"))
    assert "3 packets would be recovered. Nothing was changed" in asked.out
    assert DAMAGED == run("status", "--config", machines.first).code
    made = run("doctor", "--recover", "--who", "budi", "--config", machines.first, "--json")
    assert (DONE, stored) == (made.code, set(made.json()["recovered"]))
    assert DONE == run("doctor", "--read", "--config", machines.first).code
    with ktpsync.Office.open(machines.first) as office:
        assert 3 == office.sync().delivered
        told = [entry for entry in office.outbox.audit.entries() if entry.event == "recovered"]
        assert {("budi", packet_id) for packet_id in stored} == {
            (entry.who, entry.packet_id) for entry in told
        }
    assert stored == machines.delivered().keys()


@pytest.mark.slow
def test_a_machine_that_is_killed_while_it_records(machines: Machines) -> None:
    """All that it has acknowledged is delivered by the other one, whole; what it has not is never there half."""
    acknowledged: dict[str, str] = {}
    worker = str(Path(__file__).with_name("spool_worker.py"))
    for turn in range(3):
        command = [sys.executable, worker, str(machines.first), str(turn * 1000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(5 + turn):
                packet_id, sha256 = process.stdout.readline().split()
                acknowledged[packet_id] = sha256
            process.kill()
            acknowledged |= dict(line.split() for line in process.stdout if line.endswith("\n"))
    with ktpsync.Office.open(machines.second) as office:
        assert office.outbox.examine(read=True).problems == ()
        office.sync()
        rows = {view.packet_id: view.sha256 for view in office.outbox.packets()}
    assert acknowledged.items() <= rows.items()
    assert rows == machines.delivered()
    assert rows.items() <= {
        (Path(key).stem, hashlib.sha256(data).hexdigest()) for key, data in machines.objects().items()
    }
