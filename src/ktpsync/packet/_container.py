"""The zip inside the seal: written the same way every time, read only within limits."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Final

from ktpsync.errors import ContainerError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_MEMBERS: Final = 128
"""An enrollment has ten fingers, two irises, face, signature and a handful of documents."""

MAX_MEMBER_BYTES: Final = 32 << 20
"""Bytes of one member after inflating."""

MAX_TOTAL_BYTES: Final = 128 << 20
"""Bytes of all members after inflating."""

_NAME = re.compile(
    r"(?:manifest\.json|manifest\.sig|enrollment\.json|(?:biometrics|documents)/[a-z0-9][a-z0-9._-]{0,99})"
)
_END: Final = struct.Struct("<4s4H2LH")
"""The end of central directory record (.ZIP File Format Specification, 4.3.16)."""

_MAX_DIRECTORY_BYTES: Final = MAX_MEMBERS * 1024
_COMPRESSIONS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_ZIP_ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
)
"""What zipfile raises on bytes that are not a zip, or one with parts it does not know."""


def write(members: Mapping[str, bytes]) -> bytes:
    """Return a zip of the members in the given order, with fixed times; JSON deflated, the rest stored.

    Raises:
        ContainerError: A name or a size is beyond what :func:`read` accepts.
    """
    _check([(name, len(data)) for name, data in members.items()])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", allowZip64=False) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.create_system = 3
            info.external_attr = 0o600 << 16
            info.compress_type = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
            archive.writestr(info, data)
    return buffer.getvalue()


def read(data: bytes) -> dict[str, bytes]:
    """Return all members of a zip by name.

    Raises:
        ContainerError: It is not a zip, or one beyond the limits: too many members, too large, a name
            that leaves the container, a name twice.
    """
    _check_directory(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check([(info.filename, info.file_size) for info in infos])
            if not {info.compress_type for info in infos} <= _COMPRESSIONS:
                raise ContainerError("The packet has a member that is neither stored nor deflated.")
            return {info.filename: archive.read(info) for info in infos}
    except _ZIP_ERRORS as error:
        raise ContainerError(f"The opened bytes are not a readable packet container: {error}.") from error


def _check_directory(data: bytes) -> None:
    """Refuse a directory of members that is too big to be read, or is not where the zip ends.

    zipfile reads all of it into memory before anything can be counted, and looks for it in several places.
    """
    start = len(data) - _END.size
    mark, disk, first_disk, here, members, size, offset, comment = _END.unpack_from(
        data.rjust(_END.size), max(0, start)
    )
    if mark != b"PK\5\6" or disk or first_disk or comment or offset + size != start or here != members:
        raise ContainerError("The opened bytes are not a packet: they do not end as its zip does.")
    if members > MAX_MEMBERS or size > _MAX_DIRECTORY_BYTES:
        raise ContainerError(f"The packet has {members} members; {MAX_MEMBERS} are allowed.")


def _check(members: list[tuple[str, int]]) -> None:
    if len(members) > MAX_MEMBERS:
        raise ContainerError(f"The packet has {len(members)} members; {MAX_MEMBERS} are allowed.")
    seen = set()
    for name, size in members:
        if not _NAME.fullmatch(name):
            raise ContainerError(
                f"The packet has a member with the name {name[:60]!r}, which no packet may have."
            )
        if name in seen:
            raise ContainerError(f"The packet has the member {name} twice.")
        if size > MAX_MEMBER_BYTES:
            raise ContainerError(f"The member {name} has {size} bytes; {MAX_MEMBER_BYTES} are allowed.")
        seen.add(name)
    total = sum(size for _, size in members)
    if total > MAX_TOTAL_BYTES:
        raise ContainerError(f"The packet has {total} bytes inside; {MAX_TOTAL_BYTES} are allowed.")
