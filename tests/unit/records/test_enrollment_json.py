"""``enrollment.json`` and folders."""

from __future__ import annotations

import json
from datetime import timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ktpsync import records
from ktpsync.errors import SchemaError, ValidationError
from ktpsync.records import Severity, _versions
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


VERSION_1 = Path(__file__).parent / "data" / "version-1"


def reader(files: Mapping[str, bytes]) -> Callable[[str], bytes]:
    """Return what ``from_json`` reads files with."""

    def read(name: str) -> bytes:
        if name not in files:
            raise FileNotFoundError(name)
        return files[name]

    return read


def test_an_enrollment_survives_json() -> None:
    """What is read is what was written, and writing it again gives the same bytes."""
    enrollment = make_enrollment(1)
    document, files = records.to_json(enrollment)

    read = records.from_json(document, reader(files))

    assert enrollment == read
    assert (document, files) == records.to_json(read)


def test_every_problem_is_listed_with_its_path() -> None:
    """One pass names missing, unknown, malformed and absent things together, with a suggestion."""
    document, files = records.to_json(make_enrollment(1))
    body = json.loads(document)
    body["biodata"]["ful_name"] = body["biodata"].pop("full_name")
    body["biodata"]["religion"] = "UNHEARD OF"
    body["biodata"]["date_of_birth"] = "1990-02-31"
    body["biometrics"]["fingers"]["left-thumb"]["file"] = "biometrics/gone.png"
    body["capture"]["captured_at"] = "2017-03-17T09:30:00"

    with pytest.raises(ValidationError) as caught:
        records.from_json(json.dumps(body).encode(), reader(files))

    expected = {
        ("biodata.full_name", "json.field-missing"),
        ("biodata.ful_name", "json.field-unknown"),
        ("biodata.religion", "json.not-a-choice"),
        ("biodata.date_of_birth", "json.not-a-date"),
        ("biometrics.fingers.left-thumb", "file.missing"),
        ("capture.captured_at", "json.not-a-time"),
    }
    assert expected == {(problem.path, problem.code) for problem in caught.value.problems}
    assert "perhaps 'full_name'" in str(caught.value)
    unknown = next(found for found in caught.value.problems if found.code == "json.field-unknown")
    assert unknown.translated("id").message == "Kolom ini tidak dikenal; mungkin maksudnya 'full_name'."
    assert "UNHEARD OF" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("sha256", "0" * 64, "file.digest-differs"),
        ("size", 1, "file.digest-differs"),
        ("format", "wsq", "file.format-differs"),
    ],
)
def test_what_is_said_of_a_file_is_checked(field: str, value: object, code: str) -> None:
    """A stated digest, size or format that does not hold is an error at that file."""
    document, files = records.to_json(make_enrollment(1))
    body = json.loads(document)
    body["biometrics"]["face"][field] = value

    with pytest.raises(ValidationError) as caught:
        records.from_json(json.dumps(body).encode(), reader(files))

    assert [("biometrics.face", code)] == [(problem.path, problem.code) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"schema": "ktpsync.enrollment/2"}',
        b'{"schema": 1}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schema": "ktpsync.enrollment/1", "schema": "ktpsync.enrollment/1"}',
        b'{"schema": "ktpsync.enrollment/1", "reference": "\\ud800"}',
        b'{"schema": "ktpsync.enrollment/1", "reference": ' + b"9" * 5000 + b"}",
        b'{"schema": "ktpsync.enrollment/0"}',
    ],
)
def test_what_is_no_enrollment_is_a_schema_error(data: bytes) -> None:
    """Anything else than JSON of the known schema is refused with one clear error."""
    with pytest.raises(SchemaError):
        records.from_json(data, reader({}))


def test_a_dictionary_of_files_will_do() -> None:
    """What is not in it is a missing file; a byte order mark, as Notepad writes it, is no part of the JSON."""
    document, files = records.to_json(make_enrollment(1, size=4000))
    face = files.pop("biometrics/face.png")

    with pytest.raises(ValidationError) as caught:
        records.from_json(document, files.__getitem__)

    assert [("biometrics.face", "file.missing")] == [(one.path, one.code) for one in caught.value.problems]
    files["biometrics/face.png"] = face
    assert make_enrollment(1, size=4000) == records.from_json(b"\xef\xbb\xbf" + document, files.__getitem__)


def test_a_folder_is_the_packet_s_content(tmp_path: Path) -> None:
    """A saved folder reads back to the same enrollment."""
    enrollment = make_enrollment(2)
    records.save_folder(enrollment, tmp_path / "one")

    assert enrollment == records.load_folder(tmp_path / "one")


@pytest.mark.parametrize("name", ["../outside.png", "/etc/hostname", "biometrics/../../outside.png"])
def test_a_folder_does_not_reach_outside(tmp_path: Path, name: str) -> None:
    """A file name that leaves the folder is a problem, and the file is not read."""
    folder = tmp_path / "one"
    records.save_folder(make_enrollment(2), folder)
    (tmp_path / "outside.png").write_bytes(b"secret")
    body = json.loads((folder / "enrollment.json").read_bytes())
    body["biometrics"]["face"] = {"file": name}
    (folder / "enrollment.json").write_text(json.dumps(body))

    with pytest.raises(ValidationError) as caught:
        records.load_folder(folder)

    assert ["file.outside"] == [problem.code for problem in caught.value.problems]


def test_what_is_no_file_is_a_problem_of_its_place(tmp_path: Path) -> None:
    """A folder where a sample should be; nothing else is held up by it."""
    records.save_folder(make_enrollment(2, size=4000), tmp_path / "one")
    face = tmp_path / "one/biometrics/face.png"
    face.unlink()
    face.mkdir()

    with pytest.raises(ValidationError) as caught:
        records.load_folder(tmp_path / "one")

    assert [("biometrics.face", "file.unreadable")] == [
        (problem.path, problem.code) for problem in caught.value.problems
    ]


def test_a_document_that_is_no_file_says_so(tmp_path: Path) -> None:
    """The message names it."""
    (tmp_path / "enrollment.json").mkdir()

    with pytest.raises(SchemaError, match=r"enrollment\.json cannot be read"):
        records.load_folder(tmp_path)


def test_a_folder_without_an_enrollment_says_so(tmp_path: Path) -> None:
    """The error names the folder."""
    with pytest.raises(SchemaError, match=r"has no enrollment\.json"):
        records.load_folder(tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("biodata.full_name", 1, "json.not-text"),
        ("biodata.nik", 1, "json.not-text"),
        ("biodata.nik", "3171013102990001", "nik.day"),
        ("biodata.nik", "3171 0117 0890 0001", "nik.digits"),
        ("biodata.occupation.code", "88", "json.not-a-whole-number"),
        ("biodata.occupation.code", True, "json.not-a-whole-number"),
        ("biodata.occupation.code", 88.5, "json.not-a-whole-number"),
        ("biodata.date_of_birth", "19900817", "json.not-a-date"),
        ("capture.captured_at", "2017-03-17 09:30:00+07:00", "json.not-a-time"),
        ("biodata.address", "JL. MAWAR", "json.not-an-object"),
        ("biometrics.fingers", [], "json.not-an-object"),
        ("biometrics.signature", None, "json.not-an-object"),
        ("documents", {}, "json.not-a-list"),
        ("biometrics.signature.missing.permanent", "ya", "json.not-yes-or-no"),
    ],
)
def test_a_value_of_another_type_is_named(path: str, value: object, code: str) -> None:
    """Nothing is guessed: a number is no text, a text is no number."""
    document, files = records.to_json(make_enrollment(1))
    body = json.loads(document)
    if ".missing." in path:
        body["biometrics"]["signature"] = {"missing": {"reason": "worn"}}
    *groups, last = path.split(".")
    inner = body
    for group in groups:
        inner = inner[group]
    inner[last] = value

    with pytest.raises(ValidationError) as caught:
        records.from_json(json.dumps(body).encode(), reader(files))

    assert [(path, code)] == [(problem.path, problem.code) for problem in caught.value.problems]


def test_a_place_that_no_hand_has_is_named_with_a_suggestion() -> None:
    """A misspelt finger would otherwise be a missing one."""
    document, files = records.to_json(make_enrollment(1))
    body = json.loads(document)
    body["biometrics"]["fingers"]["left-tumb"] = body["biometrics"]["fingers"].pop("left-thumb")

    with pytest.raises(ValidationError, match="perhaps 'left-thumb'") as caught:
        records.from_json(json.dumps(body).encode(), reader(files))

    assert ["json.field-unknown"] == [problem.code for problem in caught.value.problems]


def test_the_json_may_be_text_but_no_dictionary() -> None:
    """Forms give text; what was taken apart already is named as the mistake that it is."""
    document, files = records.to_json(make_enrollment(1))

    assert make_enrollment(1) == records.from_json(document.decode(), reader(files))
    with pytest.raises(TypeError, match="bytes or text, not dict"):
        records.from_json(json.loads(document), reader(files))
    with pytest.raises(SchemaError, match="not readable JSON"):
        records.from_json('"\ud800"', reader(files))


def test_the_same_enrollment_has_the_same_bytes() -> None:
    """Whatever the order in which an app fills it, the zone of its times, and which samples are one object."""
    first = make_enrollment(1, size=4000)
    biometrics = first.biometrics
    local = first.captured_at.astimezone(timezone(timedelta(hours=7)))
    other = evolve(
        first,
        biometrics=evolve(biometrics, fingers=dict(reversed(biometrics.fingers.items()))),
        capture=evolve(first.capture, captured_at=local),
    )

    assert first == other
    assert records.to_json(first) == records.to_json(other)


def test_one_sample_in_two_places_is_written_twice() -> None:
    """Each place has a file of its own name, even if a program gives the same object for both."""
    enrollment = make_enrollment(1, size=4000)
    face = enrollment.biometrics.face
    twice = evolve(enrollment, biometrics=evolve(enrollment.biometrics, signature=face))

    document, files = records.to_json(twice)

    assert files["biometrics/face.png"] == files["biometrics/signature.png"]
    assert twice == records.from_json(document, reader(files))


def test_microseconds_survive() -> None:
    """What a program recorded is what it reads."""
    enrollment = make_enrollment(1, size=4000)
    moment = enrollment.captured_at.replace(microsecond=123_456)
    precise = evolve(enrollment, capture=evolve(enrollment.capture, captured_at=moment))
    document, files = records.to_json(precise)

    assert precise == records.from_json(document, reader(files))


def test_an_older_version_stays_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """When version 2 renames a field, one step turns a document of version 1 into one of version 2.

    Here today's models play version 2; version 1 called the name "name".
    """
    enrollment = make_enrollment(1, size=4000)
    document, files = records.to_json(enrollment)
    old = json.loads(document)
    old["biodata"]["name"] = old["biodata"].pop("full_name")

    def name_becomes_full_name(body: dict[str, object]) -> dict[str, object]:
        biodata = dict(body["biodata"])  # type: ignore[call-overload]
        return {**body, "biodata": {"full_name": biodata.pop("name"), **biodata}}

    monkeypatch.setattr(_versions, "CURRENT", 2)
    monkeypatch.setattr(_versions, "STEPS", {1: name_becomes_full_name})

    assert enrollment == records.from_json(json.dumps(old).encode(), reader(files))
    new = json.dumps({**json.loads(document), "schema": "ktpsync.enrollment/2"}).encode()
    assert enrollment == records.from_json(new, reader(files))
    with pytest.raises(SchemaError, match="Upgrade ktpsync"):
        records.from_json(b'{"schema": "ktpsync.enrollment/3"}', reader({}))


def test_what_version_1_wrote_stays_readable() -> None:
    """The folder was written when version 1 was new, with every field filled. It never changes."""
    enrollment = records.load_folder(VERSION_1)

    assert () == tuple(found for found in records.problems(enrollment) if found.severity is Severity.ERROR)
    biodata = enrollment.biodata
    assert ("A B", "JEPANG") == (
        biodata.father and biodata.father.full_name,
        biodata.foreigner and biodata.foreigner.nationality,
    )
    assert "made-up-1" == enrollment.reference
    document = json.loads((VERSION_1 / "enrollment.json").read_bytes())
    if records.SCHEMA == document["schema"]:
        assert (VERSION_1 / "enrollment.json").read_bytes() == records.to_json(enrollment)[0]


def test_another_schema_is_not_repeated() -> None:
    """Its field may hold anything, a person's number too."""
    with pytest.raises(SchemaError, match="is of another schema") as raised:
        records.from_json('{"schema": "3578014405920001"}', {}.__getitem__)
    assert "3578" not in str(raised.value)


def test_structure_and_rules_are_told_in_one_round() -> None:
    """What is no date does not hide a name that is too long, nor a lost file a repeated reference to the person."""
    document, files = records.to_json(evolve(make_enrollment(1, size=3000), reference="x"))
    body = json.loads(document)
    body["biodata"] |= {"date_of_birth": "31-02-1990", "full_name": "SITI" * 30, "family_card_number": "12"}
    body["biodata"]["address"]["rt"] = "3"
    body["capture"] |= {"captured_at": "2017-03-17 09:30", "office": "12", "typo": 1}
    body |= {"reference": body["biodata"]["nik"], "documents": [{"kind": "other", "file": "nowhere"}]}
    del files[body["biometrics"]["face"]["file"]], body["biometrics"]["irises"]["left"]

    with pytest.raises(ValidationError) as raised:
        records.from_json(json.dumps(body), reader(files))

    assert {
        ("biodata.date_of_birth", "json.not-a-date"),
        ("biodata.full_name", "name.too-long"),
        ("biodata.family_card_number", "text.digits"),
        ("biodata.address.rt", "text.digits"),
        ("capture.captured_at", "json.not-a-time"),
        ("capture.office", "text.digits"),
        ("capture.typo", "json.field-unknown"),
        ("reference", "reference.personal"),
        ("documents[0]", "file.missing"),
        ("biometrics.face", "file.missing"),
        ("biometrics.irises.left", "biometrics.absent"),
    } == {(one.path, one.code) for one in raised.value.problems}
    assert len(raised.value.problems) == 11


@pytest.mark.parametrize("part", ["biodata", "biometrics", "capture", "documents"])
@pytest.mark.parametrize("value", [None, [], {}, "x", 7, [{}]], ids=repr)
def test_a_part_that_is_none_hides_nothing_of_the_others(part: str, value: object) -> None:
    """Whatever stands in the place of a whole group."""
    document, files = records.to_json(make_enrollment(1, size=3000))
    body = json.loads(document)
    body["capture"] |= {"office": "12"}
    body["biodata"] |= {"family_card_number": "12"}
    body["extra"] = 1
    body[part] = value

    with pytest.raises(ValidationError) as raised:
        records.from_json(json.dumps(body), reader(files))

    found = {(one.path, one.code) for one in raised.value.problems}
    other = ("biodata.family_card_number" if part == "capture" else "capture.office", "text.digits")
    assert {other, ("extra", "json.field-unknown")} <= found
