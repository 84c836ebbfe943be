"""``enrollment.json`` and folders."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ktpsync import records
from ktpsync.errors import SchemaError, ValidationError
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


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
        ("biodata.religion", "json.value-invalid"),
        ("biodata.date_of_birth", "json.value-invalid"),
        ("biometrics.fingers.left-thumb", "file.missing"),
        ("capture.captured_at", "json.value-invalid"),
    }
    assert expected == {(problem.path, problem.code) for problem in caught.value.problems}
    assert "perhaps 'full_name'" in str(caught.value)
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
    ],
)
def test_what_is_no_enrollment_is_a_schema_error(data: bytes) -> None:
    """Anything else than JSON of the known schema is refused with one clear error."""
    with pytest.raises(SchemaError):
        records.from_json(data, reader({}))


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


def test_a_folder_without_an_enrollment_says_so(tmp_path: Path) -> None:
    """The error names the folder."""
    with pytest.raises(SchemaError, match=r"has no enrollment\.json"):
        records.load_folder(tmp_path)
