"""Sealing and opening packets."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ktpsync import age, packet, records
from ktpsync.clock import SystemClock
from ktpsync.errors import (
    AgeError,
    ContainerError,
    DigestError,
    NoMatchingIdentityError,
    PacketError,
    SchemaError,
    SignatureError,
    UnknownStationError,
    ValidationError,
)
from ktpsync.keys import StationKey
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable

IDENTITY = age.generate_identity()
STATION = StationKey.generate()
ENROLLMENT = make_enrollment(1, size=4000)
SEALING = packet.seal(ENROLLMENT, recipients=[IDENTITY.recipient], station_key=STATION, clock=SystemClock())

Members = dict[str, bytes]


def members() -> Members:
    """Return what is inside the packet."""
    with zipfile.ZipFile(io.BytesIO(age.decrypt(SEALING.sealed, [IDENTITY]))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def resealed(content: Members) -> bytes:
    """Return a packet with other members, as somebody with the public recipient can make it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return age.encrypt(buffer.getvalue(), [IDENTITY.recipient])


def test_a_packet_opens_to_the_enrollment() -> None:
    """What was sealed comes back, with the packet's own id and the station's key id."""
    opened = packet.open(SEALING.sealed, [IDENTITY], stations=[STATION.public])

    assert ENROLLMENT == opened.enrollment
    assert SEALING.packet.packet_id == opened.manifest.packet_id
    assert STATION.public.key_id == opened.manifest.station_key_id
    assert (hashlib.sha256(SEALING.sealed).hexdigest(), len(SEALING.sealed)) == (
        SEALING.packet.sha256,
        SEALING.packet.size,
    )


def test_the_container_is_ordinary_and_in_order() -> None:
    """Manifest and signature come first; JSON is deflated, images are stored; times are fixed."""
    with zipfile.ZipFile(io.BytesIO(age.decrypt(SEALING.sealed, [IDENTITY]))) as archive:
        infos = archive.infolist()

    assert ["manifest.json", "manifest.sig", "enrollment.json"] == [info.filename for info in infos[:3]]
    assert {(1980, 1, 1, 0, 0, 0)} == {info.date_time for info in infos}
    assert all(
        (info.compress_type == zipfile.ZIP_DEFLATED) == info.filename.endswith(".json") for info in infos
    )
    document, attachments = records.to_json(ENROLLMENT)
    assert {"enrollment.json": document, **attachments} == {
        info.filename: members()[info.filename] for info in infos[2:]
    }


def test_nothing_of_the_person_is_outside_the_seal() -> None:
    """The sealed bytes and the packet's repr hold neither NIK nor name."""
    for text in (ENROLLMENT.nik.digits, ENROLLMENT.biodata.full_name):
        assert text.encode() not in SEALING.sealed
        assert text not in repr(SEALING)


def test_an_enrollment_with_problems_is_not_sealed() -> None:
    """Sealing fails closed, and says why."""
    bad = evolve(ENROLLMENT, biodata=evolve(ENROLLMENT.biodata, full_name=""))

    with pytest.raises(ValidationError, match=r"name\.empty"):
        packet.seal(bad, recipients=[IDENTITY.recipient], station_key=STATION, clock=SystemClock())


def test_without_recipients_nothing_is_sealed() -> None:
    """There is no packet that nobody could open, and none in clear."""
    with pytest.raises(AgeError):
        packet.seal(ENROLLMENT, recipients=[], station_key=STATION, clock=SystemClock())


def test_another_identity_does_not_open_it() -> None:
    """Only the recipients can read it; the station is none of them."""
    with pytest.raises(NoMatchingIdentityError):
        packet.open(SEALING.sealed, [age.generate_identity()], stations=[STATION.public])


def test_an_unknown_station_is_named() -> None:
    """A packet of a station that nobody vouches for is not believed."""
    with pytest.raises(UnknownStationError, match=STATION.public.key_id):
        packet.open(SEALING.sealed, [IDENTITY], stations=[StationKey.generate().public])


@pytest.mark.parametrize("position", [0, 20, 200, 2000, -20, -1])
def test_any_changed_byte_is_noticed(position: int) -> None:
    """Header, payload and end are all covered."""
    changed = bytearray(SEALING.sealed)
    changed[position] ^= 1

    with pytest.raises(AgeError):
        packet.open(bytes(changed), [IDENTITY], stations=[STATION.public])


@pytest.mark.parametrize("cut", [0, 1, 100, 3000])
def test_a_packet_cut_short_is_noticed(cut: int) -> None:
    """However little is left."""
    with pytest.raises(AgeError):
        packet.open(SEALING.sealed[:cut], [IDENTITY], stations=[STATION.public])


def drop(name: str) -> Callable[[Members], Members]:
    """Return a change that takes a member away."""
    return lambda content: {key: value for key, value in content.items() if key != name}


def replace(name: str, old: bytes, new: bytes) -> Callable[[Members], Members]:
    """Return a change inside a member."""
    return lambda content: {**content, name: content[name].replace(old, new)}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (drop("manifest.json"), ContainerError),
        (drop("manifest.sig"), ContainerError),
        (drop("enrollment.json"), ContainerError),
        (drop("biometrics/face.png"), ContainerError),
        (lambda content: {**content, "documents/extra.pdf": b"%PDF-"}, ContainerError),
        (lambda content: {**content, "../escape": b"x"}, ContainerError),
        (lambda content: {**content, "biometrics/.hidden": b"x"}, ContainerError),
        (lambda content: {**content, "manifest.json": b"nope"}, ContainerError),
        (lambda content: {**content, "manifest.json": b"[]"}, ContainerError),
        (replace("manifest.json", b"ktpsync.packet/1", b"ktpsync.packet/9"), ContainerError),
        (replace("manifest.json", b'"members"', b'"membres"'), ContainerError),
        (replace("enrollment.json", b"made-up-1", b"made-up-2"), DigestError),
        (replace("biometrics/face.png", b"IDAT", b"IDAX"), DigestError),
        (replace("manifest.json", b"T", b"T "), ContainerError),
        (replace("manifest.json", b'{\n "format"', b'{\n  "format"'), SignatureError),
        (lambda content: {**content, "manifest.sig": bytes(64)}, SignatureError),
    ],
)
def test_a_packet_put_together_by_others_is_refused(
    change: Callable[[Members], Members], error: type[PacketError]
) -> None:
    """Whoever has the public recipient can make a packet; without the station's key it is not believed."""
    forged = resealed(change(members()))

    with pytest.raises(error):
        packet.open(forged, [IDENTITY], stations=[STATION.public])


def test_a_member_beyond_the_limit_is_refused_before_it_is_read() -> None:
    """A zip bomb costs no memory: the declared size is looked at first."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("enrollment.json", bytes(33 << 20))
    bomb = age.encrypt(buffer.getvalue(), [IDENTITY.recipient])

    with pytest.raises(ContainerError, match="33554432 are allowed"):
        packet.open(bomb, [IDENTITY], stations=[STATION.public])


def test_packet_ids_have_one_form() -> None:
    """Canonical lower-case UUIDv7, or it is no packet id."""
    packet_id = packet.new_packet_id()

    assert packet_id == packet.parse_packet_id(packet_id)
    for wrong in (
        packet_id.upper(),
        packet_id.replace("-", ""),
        "00000000-0000-4000-8000-000000000000",
        "",
        "../x",
    ):
        with pytest.raises(PacketError):
            packet.parse_packet_id(wrong)


def test_the_manifest_says_what_is_inside() -> None:
    """Digests and sizes of all other members, for whoever checks by hand."""
    content = members()
    manifest = json.loads(content["manifest.json"])

    assert "ktpsync.packet/1" == manifest["format"]
    assert {
        name: (hashlib.sha256(data).hexdigest(), len(data))
        for name, data in content.items()
        if not name.startswith("manifest.")
    } == {member["name"]: (member["sha256"], member["size"]) for member in manifest["members"]}
    STATION.public.verify(content["manifest.sig"], content["manifest.json"])


def zipped(content: Members, **options: object) -> bytes:
    """Return a zip of members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:  # type: ignore[call-overload]
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def too_many() -> bytes:
    """Return a zip with more members than a packet may have, each of an allowed name."""
    return zipped({f"documents/{number}.pdf": b"" for number in range(129)})


def understated() -> bytes:
    """Return a zip whose directory says that a member is smaller than it is."""
    data = zipped({"enrollment.json": bytes(1 << 20)}, compression=zipfile.ZIP_DEFLATED)
    return data.replace((1 << 20).to_bytes(4, "little"), (1 << 10).to_bytes(4, "little"))


def twice() -> bytes:
    """Return a zip with one name twice."""
    data = zipped({"documents/a.pdf": b"1", "documents/b.pdf": b"2"})
    return data.replace(b"documents/b.pdf", b"documents/a.pdf")


def overlapping() -> bytes:
    """Return a zip in which two members share their bytes."""
    data = bytearray(zipped({"documents/a.pdf": b"1", "documents/b.pdf": b"1"}))
    second = data.rindex(b"PK\1\2")
    data[second + 42 : second + 46] = bytes(4)
    return bytes(data)


def too_big_directory() -> bytes:
    """Return a zip with few members and megabytes about them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(4):
            info = zipfile.ZipInfo(f"documents/{number}.pdf")
            info.comment = b"x" * 65535
            archive.writestr(info, b"")
    return buffer.getvalue()


CONTAINERS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no zip": lambda: b"x" * 1000,
    "too many members": too_many,
    "a name twice": twice,
    "sizes that lie": understated,
    "members over one another": overlapping,
    "a comment": lambda: zipped(members())[:-2] + b"\x03\x00abc",
    "bytes before": lambda: b"x" + zipped(members()),
    "bytes after": lambda: zipped(members()) + b"x",
    "an end within the end": lambda: zipped(members()) + zipped({}),
    "LZMA": lambda: zipped(members(), compression=zipfile.ZIP_LZMA),
    "bzip2": lambda: zipped(members(), compression=zipfile.ZIP_BZIP2),
    "a folder": lambda: zipped({**members(), "documents/": b""}),
    "an absolute name": lambda: zipped({**members(), "/etc/passwd": b"x"}),
    "a Windows name": lambda: zipped({**members(), "documents\\a.pdf": b"x"}),
    "a directory that is too big": too_big_directory,
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_beyond_the_rules_is_refused(name: str) -> None:
    """Whoever has the public recipient can seal any bytes; they cost an error and nothing else."""
    sealed = age.encrypt(CONTAINERS[name](), [IDENTITY.recipient])

    with pytest.raises(ContainerError):
        packet.open(sealed, [IDENTITY], stations=[STATION.public])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ([drop("enrollment.json"), drop("manifest.sig")], ContainerError),
        (
            [replace("biometrics/face.png", b"IDAT", b"IDAX"), replace("manifest.json", b"[", b" [")],
            DigestError,
        ),
        ([replace("manifest.json", b'{\n "format"', b'{\n  "format"')], SignatureError),
    ],
)
def test_what_is_wrong_first_is_told_first(
    changes: list[Callable[[Members], Members]], error: type[PacketError]
) -> None:
    """The container is looked at before digests, digests before the signature, and nothing is read as an enrollment."""
    content = {**members(), "enrollment.json": b"not JSON"}
    content["manifest.json"] = resigned(content)
    for change in changes:
        content = change(content)

    with pytest.raises(error):
        packet.open(resealed(content), [IDENTITY], stations=[STATION.public])


def test_the_schema_is_looked_at_last() -> None:
    """What a trusted station signed and is no enrollment is an error of the record."""
    content = {**members(), "enrollment.json": b"not JSON"}
    content["manifest.json"] = resigned(content)
    content["manifest.sig"] = STATION.sign(content["manifest.json"])

    with pytest.raises(SchemaError):
        packet.open(resealed(content), [IDENTITY], stations=[STATION.public])


def resigned(content: Members) -> bytes:
    """Return a manifest with the digests of these members."""
    manifest = json.loads(content["manifest.json"])
    for member in manifest["members"]:
        data = content[member["name"]]
        member |= {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return json.dumps(manifest, indent=1).encode() + b"\n"
