"""Files of an office that belong to another user of the machine, as after one command typed as root."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ktpsync.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER_LOGGER: Final = "ktpsync.office.owner"
"""Where it is said that somebody works in another's office."""


def out_of_reach(folder: Path) -> list[str]:
    """Return what this user may not read or write in an office's data folder: a sentence for each owner, with what helps.

    Args:
        folder: The data folder.
    """
    found: dict[int, list[str]] = {}
    # The administrator may read everything; elsewhere files have no such owners.
    if os.name == "posix" and os.geteuid() != 0:
        for path, owner in _closed(folder):
            found.setdefault(owner, []).append(path)
    return [
        f"{counted(len(paths), 'file or folder of this office belongs', 'files and folders of this office belong')} to {_user(owner)}, "
        f"and {_user(os.geteuid())} may not use them, such as {paths[0]}: what needs them waits. As the administrator, run "
        f"`chown -R {_user(os.geteuid())} {shlex.quote(str(folder))}`."
        for owner, paths in sorted(found.items())
    ]


def not_mine(folder: Path) -> str | None:
    """Return what to say to a user who works in an office that is another's; ``None`` to its owner.

    Args:
        folder: The data folder.
    """
    if os.name != "posix":
        return None
    owner = folder.stat().st_uid
    if owner == os.geteuid():
        return None
    return (
        f"This office is {_user(owner)}'s ({folder}), and you are {_user(os.geteuid())}: {_user(owner)} cannot use files that you make in "
        f"it. Run its commands as {_user(owner)}, such as `sudo -u {_user(owner)} ktpsync status`."
    )


def _closed(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield what this user may not use below a folder, with its owner."""
    with os.scandir(folder) as entries:
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            needed = os.R_OK | os.W_OK | (os.X_OK if is_folder else 0)
            if not os.access(entry.path, needed, effective_ids=True):
                yield entry.path, entry.stat(follow_symlinks=False).st_uid
            elif is_folder:
                yield from _closed(Path(entry.path))


def _user(uid: int) -> str:
    import pwd  # noqa: PLC0415 - not on every system

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
