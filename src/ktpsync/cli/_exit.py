"""Exit codes of the command line, one meaning each."""

from __future__ import annotations

from enum import IntEnum

from ktpsync import errors


class Exit(IntEnum):
    """What a program can read from the exit code."""

    DONE = 0
    """Everything asked for is done."""

    FAILED = 1
    """Nothing of what was asked for could be done; the message says why."""

    USAGE = 2
    """The command line itself is wrong."""

    WAITING = 3
    """Some work is left for later: something is out of reach, not plugged in, or in use. Run again."""

    PERSON = 4
    """A person must look: rejected packets, refused credentials, an overdue backup."""

    DAMAGED = 5
    """Damage was found. All of it is listed."""

    BAD_INPUT = 6
    """The given records or settings have problems. All of them are listed."""

    READER_GONE = 141
    """Whoever read the output has ended before it did, as `head` does."""

    INTERRUPTED = 130
    """A person stopped it with Ctrl-C. What was done until then stays; run again, it goes on."""


def exit_code(error: errors.KtpsyncError) -> Exit:
    """Return the exit code for an error that ended a command."""
    match error:
        case errors.ConfigError() | errors.RecordError():
            return Exit.BAD_INPUT
        case (
            errors.DamagedBackupError()
            | errors.CorruptError()
            | errors.SpoolError()
            | errors.OutboxDamagedError()
        ):
            return Exit.DAMAGED
        case errors.NotPluggedInError() | errors.BackupInUseError() | errors.SpoolUnavailableError():
            return Exit.WAITING
        case (
            errors.AuthError()
            | errors.RejectedError()
            | errors.ConflictError()
            | errors.QuotaError()
            | errors.RepositoryError()
            | errors.WrongDiskError()
            | errors.DiskFullError()
        ):
            return Exit.PERSON
        case errors.UnavailableError() | errors.ThrottledError() | errors.OutboxUnavailableError():
            return Exit.WAITING
        case _:
            return Exit.FAILED
