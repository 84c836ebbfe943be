"""An enrollment as a folder: ``enrollment.json`` and the files it names, as inside a packet."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from ktpsync.errors import SchemaError
from ktpsync.files import make_folder, write_atomic
from ktpsync.records._json import from_json, to_json

if TYPE_CHECKING:
    from ktpsync.records._enrollment import Enrollment

ENROLLMENT_NAME: Final = "enrollment.json"


def load_folder(folder: Path) -> Enrollment:
    """Return the enrollment in a folder.

    Args:
        folder: Holds ``enrollment.json``; files are named relative to it, with ``/`` between parts.

    Raises:
        SchemaError: There is no readable ``enrollment.json`` of a known schema.
        ValidationError: Fields or files are missing, unknown or malformed; all of them are listed.
    """
    root = folder.resolve()

    def read(name: str) -> bytes:
        relative = PurePosixPath(name)
        path = (root / relative).resolve()
        if relative.is_absolute() or not path.is_relative_to(root):
            raise ValueError(name)
        return path.read_bytes()

    try:
        data = (root / ENROLLMENT_NAME).read_bytes()
    except FileNotFoundError:
        raise SchemaError(f"{folder} has no {ENROLLMENT_NAME}; name the folder of one enrollment.") from None
    except OSError as error:
        raise SchemaError(f"{folder / ENROLLMENT_NAME} cannot be read: {error.strerror}.") from error
    return from_json(data, read)


def save_folder(enrollment: Enrollment, folder: Path) -> None:
    """Write an enrollment as a folder, in clear: for tests and for moving from other programs only.

    Args:
        enrollment: The enrollment.
        folder: Made if missing; must not hold an enrollment yet.

    Raises:
        OSError: It cannot be written.
    """
    document, attachments = to_json(enrollment)
    make_folder(folder)
    for name, data in attachments.items():
        make_folder((folder / name).parent)
        write_atomic(folder / name, data, mode=0o600, replace=False)
    write_atomic(folder / ENROLLMENT_NAME, document, mode=0o600, replace=False)
