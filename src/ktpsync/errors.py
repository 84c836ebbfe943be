"""Every failure that a user of ktpsync can meet, in one tree.

Catch by what you want to do next, never by the text of a message::

    KtpsyncError
    ├── ConfigError                 the configuration file or an argument is wrong
    ├── RecordError
    │   ├── ValidationError         an enrollment has problems; all are listed
    │   ├── NikError                the text cannot be a NIK
    │   ├── UnknownTermError        a text that is not a choice of the form, such as of Religion
    │   ├── UnknownCodeError        a code that is not in the list that comes with ktpsync
    │   └── SchemaError             JSON that is not an enrollment of a known version
    ├── KeyFileError                a key file is missing, damaged or readable by others
    ├── AgeError                    (age v1, C2SP age.md)
    │   ├── KeyFormatError          the text is not a recipient or an identity
    │   ├── ArmorError              the ASCII armor is malformed
    │   ├── HeaderError             the header is malformed
    │   ├── HeaderMacError          the header was changed
    │   ├── NoMatchingIdentityError none of the identities opens the file
    │   └── PayloadError            the payload is damaged, cut short or continued
    ├── PacketError
    │   ├── ContainerError          not a packet, or one beyond the limits
    │   ├── DigestError             a member differs from the manifest
    │   └── SignatureError
    │       └── UnknownStationError the signing station is not among the trusted ones
    ├── OutboxError
    │   ├── ReferenceConflictError  another enrollment has this reference
    │   ├── UnknownPacketError      no such packet in this outbox
    │   ├── UnknownDestinationError no such destination in the configuration
    │   ├── WrongStateError         a delivery's or backup's state does not allow what a person decided
    │   ├── LeaseLostError          another courier holds the delivery now
    │   ├── SchemaVersionError      the database is newer than this program
    │   ├── OutboxDamagedError      the database is damaged; `ktpsync doctor --rebuild` makes it anew
    │   ├── OutboxInUseError        another process works with the outbox
    │   ├── OutboxUnavailableError  the database does not answer now; try again
    │   ├── ClosedError             the office, or its outbox, was closed before it was used
    │   ├── SpoolError              the sealed bytes of a packet are missing or damaged
    │   ├── SpoolUnavailableError   the storage or disk that the spool is on is away; nothing was stored
    │   └── StationFullError        the station's disk has no room; nothing was stored
    ├── BackendError                (by what to do next)
    │   ├── UnavailableError        try again later; costs no attempt
    │   │   ├── WrongDiskError      another disk is in its place
    │   │   │   ├── NotPluggedInError   the disk is not plugged in
    │   │   │   └── DoubtfulDiskError   there is a disk, and which one cannot be told
    │   │   └── DiskFullError       the destination has no room at the moment
    │   ├── ThrottledError          try again after `retry_after` seconds
    │   ├── RejectedError           refused for good; a person must look
    │   ├── ConflictError           the destination holds other bytes under this id
    │   ├── QuotaError              an allowance is used up; a person must look
    │   ├── UnsupportedError        the backend cannot do this
    │   ├── NotFoundError           nothing is stored under this key
    │   ├── AuthError               stop the destination and tell a person
    │   └── CorruptError            what is stored is damaged: never retry blindly, never overwrite
    ├── PluginError
    │   └── UnknownBackendError     no plugin offers this backend, or it was refused
    └── BackupError
        ├── BackupInUseError        another process works with the same backup; try again
        ├── RepositoryError         not a repository, another one, or a newer format
        ├── DamagedBackupError      verification found damage; all of it is listed
        └── RestoreError            the target or the identity does not allow a restore

Messages say what happened, to which packet or file, and what to do next. They never hold
personal data: packet ids, digests, paths and destination names only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ktpsync.units import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ktpsync.records._problems import Problem


class KtpsyncError(Exception):
    """Base of every error that ktpsync raises on purpose."""


class ConfigError(KtpsyncError):
    """The configuration file, an environment variable or an argument is wrong.

    Args:
        message: What is wrong, all of it.
        problems: The same, one line for each problem, where there can be several.
    """

    def __init__(self, message: str, *, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(problems) or (message,)
        super().__init__(message)


class RecordError(KtpsyncError):
    """An enrollment cannot be used as it is."""


class ValidationError(RecordError):
    """An enrollment has problems.

    Args:
        problems: All problems found, each with ``path``, ``code``, ``severity`` and ``message``.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        count = counted(len(self.problems), "problem", "problems")
        super().__init__(f"The enrollment has {count}; correct and submit again:\n{lines}")


class NikError(RecordError, ValueError):
    """The text cannot be a NIK. The message holds no digit of it.

    Args:
        message: Which rule it breaks.
        code: The problem's code, such as ``nik.day``.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class UnknownTermError(RecordError, ValueError):
    """The text is none of the choices, such as of ``Religion``. The message does not hold it."""


class UnknownCodeError(RecordError, LookupError):
    """The code is not in the list that comes with ktpsync. The message does not hold it."""


class SchemaError(RecordError):
    """The JSON is not an enrollment of a schema version that this release reads."""


class KeyFileError(KtpsyncError):
    """A key file is missing, damaged, or open to other users of the machine."""


class AgeError(KtpsyncError):
    """Sealing or opening failed (age v1, C2SP ``age.md``)."""


class KeyFormatError(AgeError):
    """The text is not an age recipient or identity."""


class ArmorError(AgeError):
    """The ASCII armor is malformed."""


class HeaderError(AgeError):
    """The age header is malformed or uses what the specification forbids."""


class HeaderMacError(AgeError):
    """The age header's MAC does not match: the header was changed."""


class NoMatchingIdentityError(AgeError):
    """None of the given identities opens the file."""


class PayloadError(AgeError):
    """The age payload is damaged, cut short or continued.

    Args:
        message: What was found.
        verified: Bytes of plaintext that were verified (and written, when streaming) before.
    """

    def __init__(self, message: str, *, verified: int = 0) -> None:
        super().__init__(message)
        self.verified = verified


class PacketError(KtpsyncError):
    """A packet cannot be sealed or opened."""


class ContainerError(PacketError):
    """The opened bytes are not a packet, or one beyond the container limits."""


class DigestError(PacketError):
    """A member of a packet, or the packet itself, differs from its recorded digest."""


class SignatureError(PacketError):
    """The station's signature over the manifest does not hold."""


class UnknownStationError(SignatureError):
    """The packet was signed by a station whose public key is not among the trusted ones."""


class OutboxError(KtpsyncError):
    """The outbox cannot do what was asked; nothing was lost."""


class ReferenceConflictError(OutboxError):
    """Another enrollment was already submitted under this reference, or other bytes under this packet id.

    Args:
        message: What was found.
        packet_id: The packet that the outbox holds.
        reference: The reference, where it is the reason.
    """

    def __init__(self, message: str, *, packet_id: str = "", reference: str | None = None) -> None:
        super().__init__(message)
        self.packet_id = packet_id
        self.reference = reference


class UnknownPacketError(OutboxError):
    """The outbox has no packet with this id."""


class UnknownDestinationError(OutboxError):
    """No destination with this name is configured."""


class WrongStateError(OutboxError):
    """The state of the delivery or backup does not allow this decision; nothing was changed."""


class LeaseLostError(OutboxError):
    """The delivery was leased again by another courier; this result is too late."""


class SchemaVersionError(OutboxError):
    """The outbox database was written by a newer release."""


class OutboxDamagedError(OutboxError):
    """The outbox database cannot be read. It was left as it is; it can be made anew from the sealed packets."""


class OutboxInUseError(OutboxError):
    """Another process works with the outbox, and what was asked needs it alone."""


class OutboxUnavailableError(OutboxError):
    """The outbox's database does not answer now, or another program keeps it locked. Try again."""


class ClosedError(OutboxError):
    """The office, or its outbox, was closed before. Nothing was stored; a mistake of the program, not of a person."""


class SpoolError(OutboxError):
    """The sealed bytes of a packet are missing from the spool or damaged."""


class SpoolUnavailableError(OutboxError):
    """The storage service or folder that the spool is in cannot be reached, is not mounted, or is another one. Nothing was stored."""


class StationFullError(OutboxError):
    """The station's own disk has no room. Nothing was stored."""


class BackendError(KtpsyncError):
    """A backend could not do its work. The subclass says what to do next."""


class UnavailableError(BackendError):
    """The destination cannot be reached now. Try again later; the packet is not to blame."""


class WrongDiskError(UnavailableError):
    """Another disk is in the place of the right one."""


class NotPluggedInError(WrongDiskError):
    """The disk is not plugged in."""


class DoubtfulDiskError(WrongDiskError):
    """There is a disk, and whether it is the right one cannot be told: its marker cannot be read, or is there twice."""


class DiskFullError(UnavailableError):
    """The destination's disk has no room at the moment."""


class ThrottledError(BackendError):
    """The destination asks for patience.

    Args:
        message: What the destination said.
        retry_after: Seconds to wait, where it said so. What is no number of seconds counts as not said.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after if retry_after is not None and math.isfinite(retry_after) else None


class RejectedError(BackendError):
    """The destination refuses this packet for good. A person must look at it."""


class ConflictError(BackendError):
    """The destination holds other bytes under the same id. A person must look at it."""


class QuotaError(BackendError):
    """An allowance at the destination is used up. A person must look at it."""


class UnsupportedError(BackendError):
    """The backend does not offer what was asked."""


class NotFoundError(BackendError):
    """Nothing is stored under this key."""


class AuthError(BackendError):
    """The destination does not accept the credentials. Stop it and tell a person."""


class CorruptError(BackendError):
    """What the destination holds is damaged. Never retry blindly, never overwrite."""


class PluginError(KtpsyncError):
    """A plugin cannot be used."""


class UnknownBackendError(PluginError):
    """No usable plugin offers a backend of this name."""


class BackupError(KtpsyncError):
    """A backup could not be made, checked or restored."""


class BackupInUseError(BackupError):
    """Another process of this station works with the same backup now. Try again when it has ended."""


class RepositoryError(BackupError):
    """The place is not a backup repository, is another one, or has a newer format."""


class DamagedBackupError(BackupError):
    """Verification found damage.

    Args:
        message: One sentence with the counts.
        damaged: One line per damaged file or packet.
    """

    def __init__(self, message: str, *, damaged: Sequence[str] = ()) -> None:
        self.damaged = tuple(damaged)
        super().__init__("\n".join([message, *(f"  - {line}" for line in self.damaged)]))


class RestoreError(BackupError):
    """The target folder or the identity does not allow a restore."""
