"""What applications write, by the documentation: mypy reads it, nothing runs it."""

from __future__ import annotations

import ktpsync
from ktpsync import errors, records


def answer(office: ktpsync.Office, enrollment: ktpsync.Enrollment) -> list[tuple[str, str, str]]:
    """Answer a form, as on the page "embed"."""
    try:
        office.submit(enrollment)
    except errors.ValidationError as error:
        shown: list[records.Problem] = list(error.problems)
        return [(one.path, one.code, one.translated("id").message) for one in shown]
    except errors.ReferenceConflictError as error:
        return [("reference", error.packet_id, str(error.reference))]
    return []


def form(texts: dict[str, str], uploads: dict[str, bytes]) -> ktpsync.Enrollment:
    """Make an enrollment of a flat form."""
    return records.from_row({**texts, **uploads})


def named_form(texts: dict[str, str], uploads: dict[str, bytes]) -> ktpsync.Enrollment:
    """Make an enrollment of a form that names its files."""
    return records.from_row(texts, uploads.__getitem__)


def choices(texts: dict[str, str]) -> tuple[records.Religion, records.Sex, int]:
    """Take texts for what they mean, as on the page "capture form"."""
    religion = records.Religion(texts["religion"])
    return religion, records.Sex(texts["sex"]), religion.code


def shown(office: ktpsync.Office) -> list[str]:
    """Show states where texts are shown."""
    states: list[str] = [view.state for view in office.deliveries(state="rejected")]
    return [*states, *(line.state.name for line in office.summary())]


def biometrics(thumb: bytearray, face: memoryview) -> list[records.Biometrics]:
    """Name places by their enumeration or by their names, with the buffers of a device."""
    sample, missing = records.Sample(data=thumb), records.Missing(reason=records.MissingReason.INJURED)
    fingers: dict[records.Finger, records.Sample] = {records.Finger.LEFT_THUMB: sample}
    irises: dict[str, records.Missing] = {"left": missing}
    photograph = records.Sample(data=face)
    return [
        records.Biometrics(fingers=fingers, irises=irises, face=photograph, signature=missing),
        records.Biometrics(fingers={"left-thumb": sample}, irises={}, face=photograph, signature=missing),
    ]


def stored(office: ktpsync.Office, people: list[ktpsync.Enrollment]) -> list[str]:
    """Keep the ids of what was stored."""
    return [one.packet_id for one in office.submit_many(people) if isinstance(one, ktpsync.Submitted)]


def set_up(folder: str) -> None:
    """Set up an office for a key that was just made."""
    ktpsync.init_office(folder, recipients=[ktpsync.age.generate_identity().recipient])
