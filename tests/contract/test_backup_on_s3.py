"""A backup repository on two S3 servers that differ in what they honour."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from ktpsync import age
from ktpsync.backup import Depth, Repository, Retention, backup, prune, restore_station, verify
from ktpsync.keys import StationKey
from ktpsync.outbox import Outbox
from ktpsync.packet import new_packet_id
from ktpsync.plugins import BackendContext, PluginRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ktpsync.plugins import StorageBackend


def open_outbox(folder: Path) -> Outbox:
    """Open the outbox of a data directory."""
    return Outbox.open(folder / "outbox.db", folder / "spool")


def record(outbox: Outbox, count: int) -> dict[str, bytes]:
    """Record packets and return them."""
    packets = {}
    for number in range(count):
        packet_id, sealed = new_packet_id(), bytes([number]) * 5_000
        outbox.submit(sealed, packet_id=packet_id, sha256=hashlib.sha256(sealed).hexdigest())
        packets[packet_id] = sealed
    return packets


@pytest.fixture
def storage(s3_settings: dict[str, object]) -> Iterator[StorageBackend]:
    """Return an S3 backend on a new bucket, made as an office makes it."""
    context = BackendContext(name="offsite")
    settings = {**s3_settings, "prefix": "office-3578/"}
    registry = PluginRegistry.load()
    with registry.make("s3", settings, context, where="[backups.offsite]", base=Path()) as backend:
        yield backend  # type: ignore[misc]  # the S3 backend is storage


def test_backup_verify_prune_and_restore_on_s3(storage: StorageBackend, tmp_path: Path) -> None:
    """The same repository as on a disk, with nothing but the storage interface."""
    data, new = tmp_path / "data", tmp_path / "new"
    data.mkdir()
    station, identity = StationKey.generate(), age.generate_identity("x25519")
    repository = Repository.create(storage, recipients=[str(identity.recipient)])
    common = {"station": station, "memory": data / "backups"}
    packets = {}
    with open_outbox(data) as outbox:
        for full in (False, True, True):
            packets |= record(outbox, 3)
            backup(outbox, repository, full=full, **common)
        retention = Retention(last=1, daily=0, weekly=0, monthly=0)
        pruned = prune(outbox, repository, retention=retention, **common)
    for depth in Depth:
        report = verify(
            repository,
            depth=depth,
            identities=[identity],
            trusted=[station.public],
            memory=data / "backups",
        )
        assert ((), (), 9) == (report.problems, report.notes, report.packets)

    restored = restore_station(
        repository, new, identities=[identity], open_outbox=open_outbox, memory=new / "backups"
    )

    assert 3 == len(pruned.dropped)
    assert restored.ok
    assert packets == {path.stem: path.read_bytes() for path in (new / "spool").glob("*/*.age")}


def test_damage_on_s3_is_found(storage: StorageBackend, tmp_path: Path) -> None:
    """A pack that was replaced behind our back is named with its packets."""
    tmp_path.joinpath("data").mkdir()
    identity = age.generate_identity("x25519")
    repository = Repository.create(storage, recipients=[str(identity.recipient)])
    with open_outbox(tmp_path / "data") as outbox:
        packets = record(outbox, 2)
        backup(outbox, repository, station=StationKey.generate(), memory=tmp_path / "data" / "backups")
    (pack,) = [info.key for info in storage.list("packs/") if info.key.endswith(".tar")]
    storage.delete(pack)

    report = verify(repository)

    assert set(packets) == set(report.damaged_packets)


def test_ransomware_cannot_delete_a_backup_under_object_lock(
    moto_server: object, make_bucket: Callable[..., dict[str, object]], new_client: Any, tmp_path: Path
) -> None:
    """With the station's own credentials everything can be hidden, nothing destroyed: without the markers it restores."""
    settings = make_bucket(moto_server, bucket_options={"ObjectLockEnabledForBucket": True})
    locked = {**settings, "lock": "30d", "lock_mode": "compliance"}
    context = BackendContext(name="offsite")
    registry = PluginRegistry.load()
    tmp_path.joinpath("data").mkdir()
    identity = age.generate_identity("x25519")
    with registry.make("s3", locked, context, where="[backups.offsite]", base=Path()) as storage:
        repository = Repository.create(storage, recipients=[str(identity.recipient)])  # type: ignore[arg-type]
        with open_outbox(tmp_path / "data") as outbox:
            packets = record(outbox, 3)
            backup(outbox, repository, station=StationKey.generate(), memory=tmp_path / "data" / "backups")

        client = new_client(settings)
        bucket = settings["bucket"]
        ours = {info.key for info in storage.list()}  # type: ignore[attr-defined]
        versions = [v for v in client.list_object_versions(Bucket=bucket)["Versions"] if v["Key"] in ours]
        for version in versions:
            client.delete_object(Bucket=bucket, Key=version["Key"])
            with pytest.raises(ClientError):
                client.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
        assert [] == list(storage.list())  # type: ignore[attr-defined]
        assert len(ours) == len(versions)
        markers = client.list_object_versions(Bucket=bucket)["DeleteMarkers"]
        for marker in (marker for marker in markers if marker["Key"] in ours):
            client.delete_object(Bucket=bucket, Key=marker["Key"], VersionId=marker["VersionId"])

        assert verify(repository).ok
        new = tmp_path / "new"
        restored = restore_station(
            repository, new, identities=[identity], open_outbox=open_outbox, memory=new / "backups"
        )
        assert set(packets) == set(restored.packet_ids)
