"""Enrollments from CSV files and folders, in bulk."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from ktpsync import records
from ktpsync.errors import SchemaError, ValidationError
from ktpsync.records import DocumentKind, Finger, Missing, check_sources, find_sources
from ktpsync.records._folder import files_in
from ktpsync.records._form import form_fields
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from pathlib import Path

    from ktpsync.records import Enrollment

Row = dict[str, str]


def row_of(enrollment: Enrollment, folder: Path) -> Row:
    """Write an enrollment's files and return its row."""
    document, files = records.to_json(enrollment)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    body = json.loads(document)
    row: Row = {}

    def flatten(value: object, path: str) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                if name not in {"schema", "sha256", "size", "format"}:
                    flatten(inner, f"{path}.{name}" if path else name)
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                flatten(inner, f"{path}[{number}]")
        else:
            row[path if path.startswith("documents") else path.removesuffix(".file")] = str(value)

    flatten(body, "")
    return row


def write(path: Path, rows: list[Row], *, delimiter: str = ",", encoding: str = "utf-8") -> Path:
    """Write a CSV file whose columns are those of all rows."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, delimiter=delimiter, restval="")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(file.getvalue().encode(encoding))
    return path


@pytest.fixture
def people(tmp_path: Path) -> list[Row]:
    """Three rows, each with files in a folder of its own."""
    rows = []
    for seed in range(3):
        row = row_of(make_enrollment(seed, size=4000), tmp_path / str(seed))
        files = {field.path for field in form_fields() if field.kind == "file"}
        rows.append({name: f"{seed}/{value}" if name in files else value for name, value in row.items()})
    return rows


def errors(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the problems of each bad row by where it is."""
    found = {}
    for one in check_sources(find_sources(path)):
        if one.error is not None:
            assert one.error.__traceback__ is None  # it would hold the enrollment
            assert isinstance(one.error, ValidationError)
            found[one.source.name.removeprefix(f"{path} ")] = [
                (problem.path, problem.code) for problem in one.error.problems
            ]
    return found


@pytest.mark.parametrize(("delimiter", "encoding"), [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-8")])
def test_a_row_is_an_enrollment(people: list[Row], tmp_path: Path, delimiter: str, encoding: str) -> None:
    """With the separators and the byte order mark that spreadsheets write, and blank lines between."""
    path = write(
        tmp_path / "people.csv", [people[0], {}, *people[1:]], delimiter=delimiter, encoding=encoding
    )

    sources = find_sources(path)

    assert [make_enrollment(seed, size=4000) for seed in range(3)] == [source.load() for source in sources]
    assert [f"{path} line {line}" for line in (2, 4, 5)] == [source.name for source in sources]
    assert {} == errors(path)


def test_people_write_what_people_write(people: list[Row], tmp_path: Path) -> None:
    """NIKs with separators, codes for terms, lower case, yes and no in Indonesian, blank cells."""
    row = people[0]
    nik = row["biodata.nik"]
    row |= {
        "biodata.nik": f"{nik[:6]} {nik[6:12]}.{nik[12:]}",
        "biodata.religion": "1",
        "biodata.marital_status": "belum kawin",
        "biodata.marriage_date": " ",
        "biodata.occupation.code": "88",
        "biodata.occupation.text": "WIRASWASTA",
        "biometrics.fingers.left-thumb": "",
        "biometrics.fingers.left-thumb.quality": "",
        "biometrics.fingers.left-thumb.device": "",
        "biometrics.fingers.left-thumb.missing.reason": "amputated",
        "biometrics.fingers.left-thumb.missing.permanent": "ya",
        "documents[3].kind": "family-card",
        "documents[3].file": "0/biometrics/face.png",
        "documents[1].kind": "passport",
        "documents[1].file": "0/biometrics/signature.png",
    }

    (source,) = find_sources(write(tmp_path / "people.csv", [row]))
    enrollment = source.load()

    biodata = enrollment.biodata
    assert nik == biodata.nik.digits
    assert ("ISLAM", "BELUM KAWIN") == (biodata.religion.value, biodata.marital_status.value)
    assert biodata.marriage_date is None
    thumb = enrollment.biometrics.fingers[Finger.LEFT_THUMB]
    assert isinstance(thumb, Missing)
    assert thumb.permanent
    assert [DocumentKind.PASSPORT, DocumentKind.FAMILY_CARD] == [one.kind for one in enrollment.documents]


def test_all_bad_rows_are_reported_at_once(people: list[Row], tmp_path: Path) -> None:
    """Every problem of every row, with its column; good rows are not mentioned."""
    people[0] |= {"biodata.nik": "3,17101E+15", "biodata.religion": "9", "biodata.address.rt": "1"}
    people[2] |= {
        "biometrics.face": "gone.png",
        "biometrics.signature": "../outside.png",
        "biometrics.fingers.left-thumb.quality": "high",
        "biodata.full_name": "",
    }
    path = write(tmp_path / "people.csv", people)

    assert {
        "line 2": [
            ("biodata.nik", "nik.digits"),
            ("biodata.address.rt", "text.digits"),
            ("biodata.religion", "json.not-a-choice"),
        ],
        "line 4": [
            ("biodata.full_name", "json.field-missing"),
            ("biometrics.fingers.left-thumb.quality", "json.not-a-whole-number"),
            ("biometrics.face", "file.missing"),
            ("biometrics.signature", "file.outside"),
        ],
    } == {
        line: sorted(found, key=lambda one: list(people[0]).index(one[0]))
        for line, found in errors(path).items()
    }


def test_rules_are_checked_too(people: list[Row], tmp_path: Path) -> None:
    """A row whose fields can be read is validated like any enrollment."""
    people[1] |= {"biodata.address.rt": "1", "biodata.full_name": "A" * 61}

    assert {
        "line 3": [("biodata.full_name", "name.too-long"), ("biodata.address.rt", "text.digits")]
    } == errors(write(tmp_path / "people.csv", people))


def test_an_import_needs_references_and_each_once(people: list[Row], tmp_path: Path) -> None:
    """Without them, running it again after an interruption would record people twice."""
    people[0]["reference"] = ""
    people[1]["biodata.full_name"] = "A" * 61
    people[2] |= {"reference": people[1]["reference"], "biodata.address.rt": "3"}

    assert {
        "line 2": [("reference", "import.reference-needed")],
        "line 3": [("biodata.full_name", "name.too-long")],
        "line 4": [("biodata.address.rt", "text.digits"), ("reference", "import.reference-repeated")],
    } == errors(write(tmp_path / "people.csv", people))


def test_unknown_columns_are_all_named_with_suggestions(people: list[Row], tmp_path: Path) -> None:
    """Before any row is read; a header that is data of a person is not repeated."""
    row = people[0] | {"biodata.ful_name": "X", "DEWI LESTARI": "Y", "documents[0].scan": "Z"}

    with pytest.raises(ValidationError) as caught:
        find_sources(write(tmp_path / "people.csv", [row]))

    assert 3 == len(caught.value.problems)
    assert "perhaps 'biodata.full_name'" in str(caught.value)
    assert "DEWI" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no columns"),
        (b"\n\n", "no columns"),
        ("biodata.nik\nJos\xe9".encode("latin-1"), "not in UTF-8"),
        (b'biodata.nik\n"3171', "not readable as CSV"),
        (b"biodata.nik,biodata.nik\n", "there twice"),
        (b"PK\x03\x04" + bytes(50), "workbook of a spreadsheet; save its sheet as 'CSV UTF-8'"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(50), "workbook of a spreadsheet"),
        (b"biodata.nik\n,\n", "no rows"),
        ((",".join(records.table_columns()) + "\n").encode(), "no rows"),
    ],
)
def test_a_file_that_is_no_table_is_refused_as_a_whole(tmp_path: Path, content: bytes, words: str) -> None:
    """The message says how to save it again."""
    path = tmp_path / "people.csv"
    path.write_bytes(content)

    with pytest.raises((SchemaError, ValidationError), match=words):
        find_sources(path)


def test_a_row_with_too_many_cells_is_bad(people: list[Row], tmp_path: Path) -> None:
    """A stray comma in an address moves every cell after it."""
    path = write(tmp_path / "people.csv", people)
    lines = path.read_text().splitlines()
    lines[1] += ",one more"
    path.write_text("\n".join(lines))

    assert {"line 2": [("row", "import.row-longer")]} == errors(path)


def test_the_examples_of_the_form_make_a_person(tmp_path: Path, people: list[Row]) -> None:
    """What the page shows as examples can be typed as it is, and nothing is wrong with it."""
    row = {
        field.path: field.entry.example
        for field in form_fields()
        if field.path.startswith(("biodata.", "capture.")) and "foreigner" not in field.path
    }
    row |= {name: value for name, value in people[0].items() if name.startswith("biometrics.")}
    row |= {"reference": "2017-03-17/0042", "biodata.valid_until": "", "biodata.divorce_date": ""}

    (source,) = find_sources(write(tmp_path / "people.csv", [row]))

    assert () == records.problems(source.load())


def test_the_examples_of_a_foreigner_make_a_foreigner(tmp_path: Path, people: list[Row]) -> None:
    """The same for whoever has another citizenship."""
    row = people[0] | {
        field.path: field.entry.example
        for field in form_fields()
        if field.path.startswith("biodata.foreigner")
    }
    row |= {"biodata.citizenship": "WNA", "biodata.valid_until": "2031-05-31"}

    (source,) = find_sources(write(tmp_path / "people.csv", [row]))

    assert () == records.problems(source.load())


def test_a_folder_of_folders(tmp_path: Path) -> None:
    """Every folder in it is one enrollment; one that is none is reported, not skipped."""
    for seed in range(2):
        records.save_folder(make_enrollment(seed, size=4000), tmp_path / f"{seed}")
    (tmp_path / "2").mkdir()
    (tmp_path / ".hidden").mkdir()

    checked = check_sources(find_sources(tmp_path))

    assert ["0", "1", "2"] == [one.source.name.rpartition("/")[2] for one in checked]
    assert [None, None, SchemaError] == [one.error and type(one.error) for one in checked]


def test_what_is_neither_folder_nor_table_is_refused(tmp_path: Path) -> None:
    """A file of another kind is not guessed at."""
    (tmp_path / "people.pdf").write_bytes(b"%PDF")

    with pytest.raises(SchemaError, match="neither a folder nor a CSV file"):
        find_sources(tmp_path / "people.pdf")


def test_warnings_are_kept(tmp_path: Path) -> None:
    """A person may want to look, and nothing is held up."""
    enrollment = make_enrollment(1, size=4000)
    enrollment = evolve(enrollment, biodata=evolve(enrollment.biodata, full_name="SUKARNO"))
    records.save_folder(enrollment, tmp_path / "1")

    (checked,) = check_sources(find_sources(tmp_path / "1"))

    assert checked.error is None
    assert ["name.one-word"] == [found.code for found in checked.warnings]


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    """A name that points at a film, or a JSON of megabytes, costs no memory."""
    records.save_folder(make_enrollment(1, size=4000), tmp_path / "1")
    with (tmp_path / "1/biometrics/face.png").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValidationError, match=r"sample\.too-large"):
        records.load_folder(tmp_path / "1")

    with (tmp_path / "1/enrollment.json").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(SchemaError, match="more than 1 MiB"):
        records.load_folder(tmp_path / "1")


def test_a_workbook_is_named_as_one_whatever_its_ending(tmp_path: Path) -> None:
    """An .xlsx is told what to do with it, not that it is neither folder nor CSV."""
    path = tmp_path / "people.xlsx"
    path.write_bytes(b"PK\x03\x04" + bytes(50))

    with pytest.raises(SchemaError, match="CSV UTF-8"):
        find_sources(path)


def test_a_flat_form_is_an_enrollment(tmp_path: Path) -> None:
    """As a page on the web sends it: texts and the names of uploads, or the bytes themselves; empty fields are none."""
    enrollment = make_enrollment(1, size=4000)
    row = row_of(enrollment, tmp_path)
    files = {field.path for field in form_fields() if field.kind == "file"}
    uploads = {name: (tmp_path / value).read_bytes() for name, value in row.items() if name in files}
    texts = {name: value for name, value in row.items() if name not in files} | {"replaces": " "}

    assert len(uploads) > 10
    assert enrollment == records.from_row(
        {**texts, **uploads, "biodata.blood_type": enrollment.biodata.blood_type}
    )
    assert enrollment == records.from_row({**texts, **{name: name for name in uploads}}, uploads.__getitem__)


def test_a_form_s_problems_are_told_in_one_round(tmp_path: Path) -> None:
    """Unknown fields, values of another kind, lost files and rules, each by its field."""
    row: dict[str, str | bytes | None] = {**row_of(make_enrollment(1, size=4000), tmp_path)}
    read = files_in(tmp_path)
    row |= {"biodata.ful_name": "X", "DEWI LESTARI": "Y", "biodata.rt": None}
    with pytest.raises(ValidationError) as only_unknown:
        records.from_row(row | {"biodata.address.rt": "3"}, read)
    with pytest.raises(ValidationError) as all_kinds:
        records.from_row(
            row
            | {
                "biodata.sex": 7,
                "biodata.full_name": b"DEWI",
                "biodata.address.rt": "3",
                "biometrics.face": "gone",
            },  # type: ignore[dict-item]
            read,
        )
    with pytest.raises(ValidationError, match=r"biometrics.face.*file.missing"):
        records.from_row({"biometrics.face": "face.jpg"})

    unknown = {("biodata.ful_name", "json.field-unknown"), ("row", "json.field-unknown")}
    unknown |= {("biodata.rt", "json.field-unknown"), ("biodata.address.rt", "text.digits")}
    assert unknown == {(one.path, one.code) for one in only_unknown.value.problems}
    assert "DEWI" not in str(only_unknown.value)
    assert unknown | {
        ("biodata.sex", "json.not-text"),
        ("biodata.full_name", "json.not-text"),
        ("biometrics.face", "file.missing"),
    } == {(one.path, one.code) for one in all_kinds.value.problems}
