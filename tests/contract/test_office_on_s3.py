"""An office whose destination and backup are S3 buckets, at two very different servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ktpsync
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from pathlib import Path


def test_deliver_back_up_and_restore(tmp_path: Path, s3_settings: dict[str, object]) -> None:
    """Everything an office does with a disk it does with a bucket, and a new machine needs the old configuration file only."""
    settings = "".join(f'{name} = "{value}"\n' for name, value in s3_settings.items())
    identity = ktpsync.age.generate_identity()
    ktpsync.age.write_identity_file(tmp_path / "recovery.txt", identity)
    config = ktpsync.init_office(
        tmp_path / "office",
        recipients=[str(identity.recipient)],
        places=f'[destinations.offsite]\nbackend = "s3"\nprefix = "delivered/"\n{settings}'
        f'[backups.offsite]\nbackend = "s3"\nprefix = "backup/"\n{settings}',
    )
    with ktpsync.Office.open(config) as office:
        submitted = [office.submit(make_enrollment(seed, size=4000)) for seed in range(3)]
        report = office.sync()
        backup = office.backup("offsite")
        verified = office.verify("offsite", identities=[identity])

    restored = ktpsync.restore(
        "offsite", config=config, into=tmp_path / "new", identity=tmp_path / "recovery.txt"
    )

    assert (3, 0) == (report.delivered, report.waiting)
    assert (3, True) == (backup.packets, verified.ok)
    assert {one.packet_id for one in submitted} == set(restored.packet_ids)
