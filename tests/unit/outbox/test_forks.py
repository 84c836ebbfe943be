from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ktpsync.errors import OutboxError
from ktpsync.files import UseLock
from ktpsync.outbox._database import Database, use_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PROGRAM = """
import hashlib, os, sys
from pathlib import Path
from ktpsync.outbox import Outbox
from ktpsync.packet import new_packet_id

database, spool = sys.argv[1:]
outbox = Outbox.open(Path(database) if database.startswith("/") else database, Path(spool))


def submit(data):
    sha256 = hashlib.sha256(data).hexdigest()
    outbox.submit(data, packet_id=new_packet_id(), sha256=sha256, reference=data.decode())


submit(b"before")
children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        for packet in range(5):
            submit(b"%d-%d" % (number, packet))
        outbox.close()
        os._exit(0)
    children.append(child)
    submit(b"parent-%d" % number)
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
print(len(list(outbox.packets())), len(outbox.audit.verify().problems))
outbox.close()
"""

_THREADS = """
import os, sys, threading
from pathlib import Path

folder, kind, when = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
begun, end = threading.Event(), threading.Event()


def begin():
    if not begun.is_set():
        thread.start()
        begun.wait()


if when == "late":  # what is registered first is called last
    os.register_at_fork(before=begin)

from ktpsync.errors import OutboxError
from ktpsync.outbox import Outbox

outbox = Outbox.open(folder / "outbox.db", folder / "spool")


def work():
    with getattr(outbox._database, kind)():
        begun.set()
        end.wait()


def child_works():
    child = os.fork()
    if child == 0:
        try:
            list(outbox.packets())
        except OutboxError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


thread = threading.Thread(target=work)
if when == "early":
    begin()
told = [child_works(), child_works()]
end.set()
thread.join()
told.append(child_works())
print(told)
outbox.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.parametrize(("kind", "when"), [("write", "early"), ("write", "late"), ("read", "early")])
def test_only_children_of_a_parent_at_work_are_refused(kind: str, when: str, tmp_path: Path) -> None:
    """Each child born while a thread of the parent has a connection open is refused, and none that is born later."""
    command = [sys.executable, "-c", _THREADS, tmp_path, kind, when]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "[False, False, True]" == done.stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is locked there")
def test_a_child_that_is_refused_does_not_pass_for_a_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rebuild by another process need not wait for its end."""
    database = tmp_path / "outbox.db"
    monkeypatch.setattr("ktpsync.outbox._forks._torn", {str(database)})
    with pytest.raises(OutboxError, match="was forked"):
        Database(database)
    UseLock(use_lock(database), alone=True, wait=False).release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_parent_and_children_share_an_outbox(new_database: Callable[[], Any], tmp_path: Path) -> None:
    """Each has connections of its own: on a shared one, answers would reach the wrong process."""
    database = new_database()
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, database, tmp_path / "spool"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "25 0" == done.stdout.strip()
