"""What happens to a packet after it is stored: it is opened, checked, and the person is looked for."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from ktpsync import packet
from ktpsync.central._store import ADJUDICATE, Outcomes
from ktpsync.errors import KtpsyncError, UnknownStationError
from ktpsync.keys import IndexKey

if TYPE_CHECKING:
    from ktpsync.central._settings import CentralSettings
    from ktpsync.central._store import CentralStore, Held

UNIQUE: Final = "PRINT_READY_RECORD"
DUPLICATE: Final = "DUPLICATE_RECORD"

_OUTCOMES: Final = Outcomes(unique=UNIQUE, duplicate=DUPLICATE, doubtful=ADJUDICATE)

_BATCH: Final = 100
_IDLE_SECONDS: Final = 5.0
_log = logging.getLogger("ktpsync.central")


class Processing:
    """Looks into stored packets one by one, in a thread of its own. What is under way survives a restart.

    Args:
        settings: Identities and trusted stations.
        store: The packets.
    """

    def __init__(self, settings: CentralSettings, store: CentralStore) -> None:
        self._settings = settings
        self._store = store
        key_file = settings.folder / "traits.key"
        if not key_file.exists():
            IndexKey.generate().save(key_file)
        self._key = IndexKey.load(key_file)
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="ktpsync-central", daemon=True)

    def start(self) -> None:
        """Begin, with what an earlier run left."""
        self._thread.start()

    def wake(self) -> None:
        """Say that something new is stored."""
        self._wake.set()

    def stop(self) -> None:
        """Finish the packet under way and end."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            batch = self._store.unprocessed(_BATCH)
            for held in batch:
                if self._stopping:
                    return
                self._process(held)
            if not batch:
                self._wake.wait(_IDLE_SECONDS)
                self._wake.clear()

    def _process(self, held: Held) -> None:
        try:
            sealed = self._store.path(held.packet_id, held.sha256).read_bytes()
            opened = packet.open(sealed, self._settings.identities, stations=self._settings.stations)
        except (KtpsyncError, OSError) as error:
            _log.warning("Packet %s does not open: %s", held.packet_id, error)
            self._store.refuse(held, _told(error))
            return
        if opened.manifest.packet_id != held.packet_id:
            self._store.refuse(held, "The packet was sealed under another id.")
            return
        enrollment = opened.enrollment
        nik = self._key.digest("nik", enrollment.nik.digits.encode("ascii"))
        biometrics = [
            self._key.digest("biometric", digest.encode("ascii")) for digest in enrollment.biometric_digests()
        ]
        self._store.enrol(held, nik, biometrics, replaces=enrollment.replaces, outcome=_OUTCOMES)


def _told(error: KtpsyncError | OSError) -> str:
    """Return what the office is told of a packet that does not open; nothing of what is inside."""
    if isinstance(error, UnknownStationError):
        return (
            "The station that signed the packet is not trusted at the centre: its key data/keys/station.pub.pem was not "
            "given to it"
        )
    return f"The packet does not open at the centre: {type(error).__name__}"
