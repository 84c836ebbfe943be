"""Where an office keeps what: the names inside its data folder."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from ktpsync.keys import StationPublicKey


@frozen
class DataFolder:
    """The data folder of an office.

    Args:
        root: The folder.
    """

    root: Path

    @property
    def database(self) -> Path:
        """The outbox, where it is SQLite."""
        return self.root / "outbox.db"

    @property
    def spool(self) -> Path:
        """The sealed packets."""
        return self.root / "spool"

    @property
    def station_key(self) -> Path:
        """The station's private signing key."""
        return self.root / "keys" / "station.pem"

    @property
    def station_public_key(self) -> Path:
        """Its public half, to be given to the centre."""
        return self.root / "keys" / "station.pub.pem"

    @property
    def earlier_stations(self) -> Path:
        """Public keys of the stations whose work this one goes on with, after a restore."""
        return self.root / "keys" / "earlier"

    @property
    def index_key(self) -> Path:
        """The key of the keyed hashes in the outbox."""
        return self.root / "keys" / "index.key"

    @property
    def key_tests(self) -> Path:
        """When which recovery key was tried."""
        return self.root / "key-tests.json"

    @property
    def health(self) -> Path:
        """The service's sign of life."""
        return self.root / "health.json"

    @property
    def backup_memory(self) -> Path:
        """What is remembered of backup repositories."""
        return self.root / "backups"

    @property
    def fetched(self) -> Path:
        """Copies of packets on their way from a spool in storage, each for a moment."""
        return self.root / "fetched"

    def state(self, kind: str, name: str) -> Path:
        """The folder where a destination or backup may keep what it can do without."""
        return self.root / "state" / kind / name

    def trusted_stations(self, own: StationPublicKey) -> list[StationPublicKey]:
        """Return the stations whose packets and snapshots are believed: this one and those it goes on from.

        Args:
            own: This station's key.
        """
        earlier = sorted(self.earlier_stations.glob("*.pem"))
        return [own, *(StationPublicKey.from_pem(path.read_bytes()) for path in earlier)]
