"""Enrolment records: what an office captures of one person.

::

    enrollment = records.Enrollment(biodata=..., biometrics=..., capture=...)
    for problem in records.problems(enrollment):
        print(problem)

Facts and sources of the rules stand at each rule.
"""

from __future__ import annotations

from ktpsync.records._biodata import Address, Biodata, Occupation
from ktpsync.records._biometrics import Biometrics, Eye, Finger, Missing, MissingReason, Sample
from ktpsync.records._enrollment import Capture, Document, DocumentKind, Enrollment, Kind
from ktpsync.records._folder import load_folder, save_folder
from ktpsync.records._formats import Format
from ktpsync.records._json import SCHEMA, from_json, to_json
from ktpsync.records._nik import Nik
from ktpsync.records._problems import Problem, Severity
from ktpsync.records._terms import BloodType, Citizenship, Education, MaritalStatus, Religion, Sex, Term
from ktpsync.records._validation import problems, validate

__all__ = [
    "SCHEMA",
    "Address",
    "Biodata",
    "Biometrics",
    "BloodType",
    "Capture",
    "Citizenship",
    "Document",
    "DocumentKind",
    "Education",
    "Enrollment",
    "Eye",
    "Finger",
    "Format",
    "Kind",
    "MaritalStatus",
    "Missing",
    "MissingReason",
    "Nik",
    "Occupation",
    "Problem",
    "Religion",
    "Sample",
    "Severity",
    "Sex",
    "Term",
    "from_json",
    "load_folder",
    "problems",
    "save_folder",
    "to_json",
    "validate",
]
