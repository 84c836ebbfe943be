"""Finding damage and tampering, and naming it."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from ktpsync.backup import Depth, Repository, backup
from ktpsync.backup._pack import PackWriter
from ktpsync.errors import DamagedBackupError
from ktpsync.keys import StationKey
from ktpsync.packet import new_packet_id

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def filled(bench: Any) -> Any:
    """A repository with two snapshots of three packets each."""
    for first in (0, 3):
        bench.source.add_many(3, 2_000, first=first)
        bench.backup()
    return bench


@pytest.mark.parametrize("depth", list(Depth))
def test_a_good_repository_verifies_at_every_depth(filled: Any, depth: Any) -> None:
    """No problem is reported where there is none."""
    report = filled.verify(depth=depth, identities=[filled.identity])

    assert ((), (), 2, 2, 6) == (
        report.problems,
        report.notes,
        report.snapshots,
        report.packs,
        report.packets,
    )


def test_a_flipped_byte_names_the_pack_and_the_packet(filled: Any) -> None:
    """Verification says which packet is damaged and where else it is."""
    pack = filled.files("packs/*.tar")[0]
    filled.flip("packs/*.tar", 3_500)

    report = filled.verify(copies=lambda _packet_id, _sha256: ["spool"])

    expected = str(filled.source.packets()[1]["packet"])
    assert (expected,) == report.damaged_packets
    assert all(problem.key == f"packs/{pack.name}" for problem in report.problems)
    assert ("spool",) == report.problems[-1].elsewhere
    with pytest.raises(DamagedBackupError, match=expected):
        report.raise_if_damaged()


def test_damage_costs_a_restore_only_what_is_damaged(filled: Any) -> None:
    """All other packets come back, and the damaged one is listed."""
    filled.flip("packs/*.tar", 3_500)
    bad = str(filled.source.packets()[1]["packet"])

    report = filled.restore()

    good = {name: data for name, data in filled.spool().items() if bad not in name}
    assert good == filled.restored()
    assert ((bad,), False) == (report.damaged, report.ok)


def remove_newest_manifest(bench: Any) -> None:
    """The commit point of the last snapshot is gone."""
    bench.files("snapshots/*.manifest.json")[-1].unlink()


def remove_oldest_manifest(bench: Any) -> None:
    """The chain lacks its beginning."""
    bench.files("snapshots/*.manifest.json")[0].unlink()


def remove_signature(bench: Any) -> None:
    """A manifest has no signature."""
    bench.files("snapshots/*.sig")[0].unlink()


def edit_manifest(bench: Any) -> None:
    """A manifest says something else."""
    path = bench.files("snapshots/*.manifest.json")[-1]
    path.write_text(path.read_text().replace('"complete": true', '"complete": false'))


def truncate_manifest(bench: Any) -> None:
    """A manifest ends early."""
    path = bench.files("snapshots/*.manifest.json")[-1]
    path.write_bytes(path.read_bytes()[:100])


def truncate_pack(bench: Any) -> None:
    """A pack ends early."""
    path = bench.files("packs/*.tar")[0]
    path.write_bytes(path.read_bytes()[:3_000])


def remove_pack(bench: Any) -> None:
    """A pack is gone."""
    bench.files("packs/*.tar")[0].unlink()


def remove_index(bench: Any) -> None:
    """An index is gone."""
    bench.files("packs/*.index.json")[0].unlink()


def flip_index(bench: Any) -> None:
    """An index has a wrong bit."""
    bench.flip("packs/*.index.json", 60)


def swap(one: Path, two: Path) -> None:
    """Let two files change places."""
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def swap_packs(bench: Any) -> None:
    """Two packs have changed places."""
    swap(*bench.files("packs/*.tar"))


def flip_state(bench: Any) -> None:
    """A state has a wrong bit."""
    bench.flip("snapshots/*.age", -5)


def remove_state(bench: Any) -> None:
    """A state is gone."""
    bench.files("snapshots/*.age")[0].unlink()


def swap_states(bench: Any) -> None:
    """Two states have changed places."""
    swap(*bench.files("snapshots/*.age"))


def roll_back(bench: Any) -> None:
    """All files of the last snapshot are gone, as in an older copy of the disk."""
    for pattern in (
        "snapshots/*.manifest.json",
        "snapshots/*.sig",
        "snapshots/*.age",
        "packs/*.tar",
        "packs/*.json",
    ):
        bench.files(pattern)[-1].unlink()


def put_an_older_manifest_under_a_newer_name(bench: Any) -> None:
    """An older snapshot takes the place of a newer one, signature and all."""
    for pattern in ("snapshots/*.manifest.json", "snapshots/*.sig"):
        older, newer = bench.files(pattern)
        shutil.copyfile(older, newer)


def put_a_foreign_snapshot(bench: Any) -> None:
    """A repository with the same marker, filled by another station, whose files take the place."""
    other = bench.folder / "foreign"
    other.mkdir()
    for pattern in ("packs", "snapshots"):
        shutil.move(bench.folder / "disk" / pattern, other / pattern)
    backup(bench.source, bench.repository, station=StationKey.generate(), memory=bench.folder / "other")


def flip_pack(bench: Any) -> None:
    """A pack has a wrong bit."""
    bench.flip("packs/*.tar", 2_000)


def swap_indexes(bench: Any) -> None:
    """Two indexes have changed places."""
    swap(*bench.files("packs/*.index.json"))


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (remove_newest_manifest, ["snapshots/*.manifest.json", -1]),
        (remove_oldest_manifest, ["snapshots/*.manifest.json", 0]),
        (remove_signature, ["snapshots/*.manifest.json", 0]),
        (edit_manifest, ["snapshots/*.manifest.json", -1]),
        (truncate_manifest, ["snapshots/*.manifest.json", -1]),
        (truncate_pack, ["packs/*.tar", 0]),
        (flip_pack, ["packs/*.tar", 0]),
        (remove_pack, ["packs/*.tar", 0]),
        (remove_index, ["packs/*.index.json", 0]),
        (flip_index, ["packs/*.index.json", 0]),
        (swap_indexes, ["packs/*.index.json", -1]),
        (swap_packs, ["packs/*.tar", -1]),
        (flip_state, ["snapshots/*.age", 0]),
        (remove_state, ["snapshots/*.age", 0]),
        (swap_states, ["snapshots/*.age", -1]),
        (roll_back, ["snapshots/*.manifest.json", -1]),
        (put_an_older_manifest_under_a_newer_name, ["snapshots/*.manifest.json", -1]),
        (put_a_foreign_snapshot, ["snapshots/*.manifest.json", -1]),
    ],
)
def test_tampering_is_detected_by_the_default_verification(filled: Any, tamper: Any, named: Any) -> None:
    """Each kind of damage or deceit is a problem with the name of the file that it concerns."""
    pattern, number = named
    expected = filled.files(pattern)[number].relative_to(filled.folder / "disk").as_posix()
    tamper(filled)

    report = filled.verify()

    assert not report.ok
    assert expected in {problem.key for problem in report.problems}


def test_a_foreign_packet_in_a_pack_s_place_is_named(filled: Any) -> None:
    """Whole and well-formed, but not what the snapshot recorded: the packets that were there are named and copied again."""
    foreign = PackWriter(filled.files("packs/*.tar")[0].stem)
    foreign.add_bytes(new_packet_id(), hashlib.sha256(b"foreign").hexdigest(), b"foreign")
    pack = foreign.finish()
    filled.files("packs/*.tar")[0].write_bytes(pack.data.read())
    filled.files("packs/*.index.json")[0].write_bytes(pack.index)

    report = filled.verify()

    first = filled.files("packs/*.tar")[0].name
    assert {f"packs/{first}", f"packs/{first[:-4]}.index.json"} == {
        problem.key for problem in report.problems
    }


@pytest.mark.parametrize(
    "damage",
    [
        remove_index,
        flip_index,
        flip_state,
        remove_oldest_manifest,
        edit_manifest,
        remove_signature,
        truncate_manifest,
    ],
)
def test_damage_beside_the_packs_costs_no_packet(filled: Any, damage: Any) -> None:
    """Whatever becomes of manifests, indexes and states, the packets come back as long as one state does."""
    damage(filled)

    report = filled.restore()

    assert filled.spool() == filled.restored()
    assert not report.ok


def test_a_lost_pack_names_all_its_packets(filled: Any) -> None:
    """The index beside a pack says what was in it."""
    remove_pack(filled)

    report = filled.verify()

    assert tuple(str(change["packet"]) for change in filled.source.packets()[:3]) == report.damaged_packets


def test_files_of_an_interrupted_backup_are_no_damage(filled: Any) -> None:
    """What no snapshot names is noted, not alarmed about."""
    (filled.folder / "disk" / "packs" / "01890a5d-ac96-774b-bcce-b302099a8057.tar").write_bytes(b"half")

    report = filled.verify()

    assert (True, 1) == (report.ok, len(report.notes))


def test_opening_checks_every_packet_with_the_given_function(filled: Any) -> None:
    """The deepest verification hands every packet to the opener."""
    opened = []

    filled.verify(
        depth=Depth.OPEN,
        identities=[filled.identity],
        open_packet=lambda packet_id, _sealed: opened.append(packet_id),
    )

    assert [change["packet"] for change in filled.source.packets()] == opened


def test_verifying_changes_nothing(filled: Any) -> None:
    """The repository's files are the same before and after."""
    before = {path: path.read_bytes() for path in filled.files("**/*") if path.is_file()}

    filled.verify()

    assert before == {path: path.read_bytes() for path in filled.files("**/*") if path.is_file()}
    assert Repository.open(filled.storage).marker == filled.repository.marker
