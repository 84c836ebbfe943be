"""Enrolment records: what an office captures of one person.

::

    enrollment = records.Enrollment(biodata=..., biometrics=..., capture=...)
    for problem in records.problems(enrollment):
        print(problem)

Facts and sources of the rules stand at each rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.lazy import exports

if TYPE_CHECKING:
    from ktpsync.records._biodata import Address, Biodata, Foreigner, Occupation, Parent
    from ktpsync.records._biometrics import Biometrics, Missing, MissingReason, Sample
    from ktpsync.records._codes import occupations
    from ktpsync.records._content import Content, inspect
    from ktpsync.records._enrollment import Capture, Document, DocumentKind, Enrollment, Kind
    from ktpsync.records._folder import load_folder, save_folder
    from ktpsync.records._formats import Format
    from ktpsync.records._json import SCHEMA, from_json, to_json
    from ktpsync.records._nik import Nik
    from ktpsync.records._places import Eye, Finger
    from ktpsync.records._problems import Problem, Severity
    from ktpsync.records._regions import region_name
    from ktpsync.records._schema import json_schema
    from ktpsync.records._sources import Checked, Source, check_sources, find_sources
    from ktpsync.records._table import from_row, table_columns
    from ktpsync.records._terms import (
        BloodType,
        Citizenship,
        Disability,
        Education,
        FamilyRelation,
        MaritalStatus,
        Religion,
        Sex,
        StayPermit,
        Term,
    )
    from ktpsync.records._validation import problems, validate

_ROOMS = {
    "_biodata": ("Address", "Biodata", "Foreigner", "Occupation", "Parent"),
    "_biometrics": ("Biometrics", "Missing", "MissingReason", "Sample"),
    "_codes": ("occupations",),
    "_content": ("Content", "inspect"),
    "_enrollment": ("Capture", "Document", "DocumentKind", "Enrollment", "Kind"),
    "_folder": ("load_folder", "save_folder"),
    "_formats": ("Format",),
    "_json": ("SCHEMA", "from_json", "to_json"),
    "_nik": ("Nik",),
    "_places": ("Eye", "Finger"),
    "_problems": ("Problem", "Severity"),
    "_regions": ("region_name",),
    "_schema": ("json_schema",),
    "_sources": ("Checked", "Source", "check_sources", "find_sources"),
    "_table": ("from_row", "table_columns"),
    "_terms": (
        "BloodType",
        "Citizenship",
        "Disability",
        "Education",
        "FamilyRelation",
        "MaritalStatus",
        "Religion",
        "Sex",
        "StayPermit",
        "Term",
    ),
    "_validation": ("problems", "validate"),
}

__all__ = [
    "SCHEMA",
    "Address",
    "Biodata",
    "Biometrics",
    "BloodType",
    "Capture",
    "Checked",
    "Citizenship",
    "Content",
    "Disability",
    "Document",
    "DocumentKind",
    "Education",
    "Enrollment",
    "Eye",
    "FamilyRelation",
    "Finger",
    "Foreigner",
    "Format",
    "Kind",
    "MaritalStatus",
    "Missing",
    "MissingReason",
    "Nik",
    "Occupation",
    "Parent",
    "Problem",
    "Religion",
    "Sample",
    "Severity",
    "Sex",
    "Source",
    "StayPermit",
    "Term",
    "check_sources",
    "find_sources",
    "from_json",
    "from_row",
    "inspect",
    "json_schema",
    "load_folder",
    "occupations",
    "problems",
    "region_name",
    "save_folder",
    "table_columns",
    "to_json",
    "validate",
]

__getattr__, __dir__ = exports(__name__, _ROOMS)
