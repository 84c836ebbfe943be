"""Which schema this release reads and writes."""

from __future__ import annotations

from typing import Final

from ktpsync.errors import SchemaVersionError

HEAD: Final = "0002"
"""The newest revision of the schema."""


def check_still_ours(version: str | None, address: str) -> None:
    """Refuse to write into a database that was upgraded while it was open.

    Args:
        version: The revision that its schema has now.
        address: The database, for the message.

    Raises:
        SchemaVersionError: It is another one than :data:`HEAD`.
    """
    if version != HEAD:
        raise SchemaVersionError(
            f"The outbox in {address} was upgraded to schema {version} while this program had it open, which does not know that. "
            "Nothing was stored; start the program again with the newer ktpsync."
        )
