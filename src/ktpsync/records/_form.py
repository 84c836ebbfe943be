"""The fields of a capture form, one after the other, as the models have them.

The page for authors of forms and the columns of an import come from here.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from enum import Enum
from typing import Literal, Union, get_args, get_origin

import attrs
from attrs import frozen

from ktpsync.records._biometrics import Missing, Sample
from ktpsync.records._enrollment import Document, Enrollment
from ktpsync.records._entry import Entry, entries
from ktpsync.records._nik import Nik
from ktpsync.records._places import LABELS
from ktpsync.structure import is_enum

FieldType = Literal["text", "NIK", "whole number", "yes or no", "date", "time", "choice", "file"]

_TYPES: Mapping[type, FieldType] = {
    str: "text",
    Nik: "NIK",
    int: "whole number",
    bool: "yes or no",
    datetime: "time",
    date: "date",
}


@frozen(kw_only=True)
class FormField:
    """One field of the form.

    Args:
        path: Where it is in the JSON, and its column's name in an import.
        kind: What is typed.
        required: Whether it must be there where its group is.
        entry: What the form must know of it.
        choices: The values to choose from.
    """

    path: str
    kind: FieldType
    required: bool
    entry: Entry
    choices: type[Enum] | None = None


@functools.cache
def form_fields() -> tuple[FormField, ...]:
    """Return all fields of the form; of documents one, whose path holds ``[N]``."""
    return tuple(_fields(Enrollment, ""))


def _fields(cls: type[attrs.AttrsInstance], prefix: str) -> Iterator[FormField]:
    attrs.resolve_types(cls)
    known = entries(cls)
    for attribute in attrs.fields(cls):
        if attribute.name not in known:
            continue
        required = attribute.default is attrs.NOTHING
        yield from _of(f"{prefix}{attribute.name}", attribute.type, known[attribute.name], required=required)


def _of(path: str, kind: object, entry: Entry, *, required: bool) -> Iterator[FormField]:
    arguments = get_args(kind)
    if get_origin(kind) in {Union, types.UnionType}:
        if Missing in arguments:
            yield from _sample(path, entry)
            return
        (kind,) = (one for one in arguments if one is not types.NoneType)
    if get_origin(kind) is Mapping:
        for place in arguments[0]:
            yield from _sample(f"{path}.{place.value}", Entry(label=LABELS[place], rule=entry.rule))
    elif get_origin(kind) is tuple:
        yield from _fields(Document, f"{path}[N].")
        yield FormField(
            path=f"{path}[N].file", kind="file", required=True, entry=Entry(label="Berkas Dokumen")
        )
    elif is_enum(kind):
        yield FormField(path=path, kind="choice", required=required, entry=entry, choices=kind)
    elif isinstance(kind, type) and kind in _TYPES:
        yield FormField(path=path, kind=_TYPES[kind], required=required, entry=entry)
    elif isinstance(kind, type) and attrs.has(kind):
        yield from _fields(kind, f"{path}.")


def _sample(path: str, entry: Entry) -> Iterator[FormField]:
    yield FormField(path=path, kind="file", required=True, entry=entry)
    yield from _fields(Sample, f"{path}.")
    yield from _fields(Missing, f"{path}.missing.")
