"""What is published of the models: pages of the documentation and the JSON Schema."""

from __future__ import annotations

from pathlib import Path

import attrs
import jsonschema_rs
import pytest

from ktpsync import records
from ktpsync.records import _reference
from ktpsync.records._catalogue import CATALOGUE
from ktpsync.records._form import form_fields
from ktpsync.records._schema import generated_schema

PAGES = Path(__file__).parents[3] / "docs" / "reference"
STALE = "run `python -m ktpsync.records._reference` in the project's folder"


@pytest.mark.parametrize(
    ("name", "make"),
    [("problems.md", _reference.problems_page), ("capture-form.md", _reference.capture_form_page)],
)
def test_a_page_says_what_the_models_say(name: str, make: object) -> None:
    """A changed field, rule or code changes its page."""
    page = (PAGES / name).read_text(encoding="utf-8")

    assert make(page) == page, STALE  # type: ignore[operator]


def test_the_published_schema_is_the_one_of_the_models() -> None:
    """What is shipped in the package is what the models generate."""
    assert generated_schema() == records.json_schema(), STALE


def test_every_field_of_every_model_is_on_the_form() -> None:
    """A field that is added without a label would be missing from page, import and schema titles."""
    unlabelled = [
        f"{cls.__name__}.{attribute.name}"
        for cls in vars(records).values()
        if isinstance(cls, type)
        and attrs.has(cls)
        and cls.__module__.rpartition(".")[2] in {"_biodata", "_biometrics", "_enrollment"}
        for attribute in attrs.fields(cls)
        if "ktpsync.entry" not in attribute.metadata
    ]

    # The bytes of a sample are a file, and a document is one.
    assert ["Document.scan", "Sample.data"] == sorted(unlabelled)
    assert [] == [field.path for field in form_fields() if not field.entry.label]


def test_the_page_lists_every_code() -> None:
    """Nothing that a program may meet is undocumented."""
    page = (PAGES / "problems.md").read_text(encoding="utf-8")

    assert [] == [code for code in CATALOGUE if f"`{code}`" not in page]


def test_the_schema_is_in_the_package_as_a_file() -> None:
    """An author of another program takes it from there; it is draft 2020-12 and closed."""
    schema = records.json_schema()

    assert "https://json-schema.org/draft/2020-12/schema" == schema["$schema"]
    assert {"const": records.SCHEMA} == schema["properties"]["schema"]  # type: ignore[index]
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    objects = [schema, *(one for one in definitions.values() if one.get("type") == "object")]
    assert all(one["additionalProperties"] is False for one in objects)
    assert jsonschema_rs.meta.is_valid(schema)
