"""An enrollment as a folder: ``enrollment.json`` and the files it names, as inside a packet."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from ktpsync.discreet import discreet
from ktpsync.errors import SchemaError
from ktpsync.files import make_folder, write_atomic
from ktpsync.records._converter import CodedError
from ktpsync.records._json import from_json, to_json
from ktpsync.records._rules_samples import MAX_SAMPLE_MIB

if TYPE_CHECKING:
    from ktpsync.records._enrollment import Enrollment
    from ktpsync.records._json import Read

ENROLLMENT_NAME: Final = "enrollment.json"
_MAX_DOCUMENT_MIB: Final = 1


@discreet
def load_folder(folder: Path) -> Enrollment:
    """Return the enrollment in a folder.

    Args:
        folder: Holds ``enrollment.json``; files are named relative to it, with ``/`` between parts.

    Raises:
        SchemaError: There is no readable ``enrollment.json`` of a known schema.
        ValidationError: Fields or files are missing, unknown or malformed; all of them are listed.
    """
    path = folder / ENROLLMENT_NAME
    try:
        if path.stat().st_size > _MAX_DOCUMENT_MIB << 20:
            raise SchemaError(f"{path} has more than {_MAX_DOCUMENT_MIB} MiB; it is no enrollment.")
        data = path.read_bytes()
    except FileNotFoundError:
        raise SchemaError(f"{folder} has no {ENROLLMENT_NAME}; name the folder of one enrollment.") from None
    except OSError as error:
        raise SchemaError(f"{path} cannot be read: {error.strerror}.") from error
    return from_json(data, files_in(folder))


def files_in(folder: Path) -> Read:
    """Return a function that reads files by their names relative to a folder, and none outside it.

    Args:
        folder: The folder.
    """
    root = folder.resolve()

    def read(name: str) -> bytes:
        relative = PurePosixPath(name)
        path = (root / relative).resolve()
        if relative.is_absolute() or not path.is_relative_to(root):
            raise ValueError(name)
        if not path.exists():
            raise FileNotFoundError(name)
        if not path.is_file():
            raise OSError(name)
        if path.stat().st_size > MAX_SAMPLE_MIB << 20:
            raise CodedError("sample.too-large", limit=MAX_SAMPLE_MIB)
        return path.read_bytes()

    return read


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
