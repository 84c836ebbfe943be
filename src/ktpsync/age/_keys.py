"""The plug points of age: who can open a file, and who opens it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ktpsync.age._header import Stanza


class Recipient(ABC):
    """Somebody a file is sealed to: the public half of a key, or a passphrase.

    A smart card, a security module or a key service takes part by a subclass of this class and one of
    :class:`Identity`.
    """

    __slots__ = ()

    @property
    def labels(self) -> frozenset[str]:
        """What this recipient demands of all recipients of the same file.

        Recipients of one file must have equal labels. The hybrid recipient has ``"postquantum"``: beside a
        recipient that a quantum computer can open, its own protection would be worth nothing.
        """
        return frozenset()

    @abstractmethod
    def wrap(self, file_key: bytes) -> Sequence[Stanza]:
        """Encrypt the key of a file.

        Args:
            file_key: The 16 secret bytes. Do not keep them.

        Returns:
            One stanza for the header, or several.
        """


class Identity(ABC):
    """Somebody who opens files: the private half of a key, or a passphrase. It is never pickled."""

    # No attribute dictionary here, so that subclasses can do without one: error reporters print them.
    __slots__ = ()

    @property
    @abstractmethod
    def recipient(self) -> Recipient:
        """The recipient to which this identity's files are sealed."""

    @abstractmethod
    def unwrap(self, stanzas: Sequence[Stanza]) -> bytes | None:
        """Decrypt the key of a file.

        Args:
            stanzas: All stanzas of the header. Ignore those of other types.

        Returns:
            The file key, or None if no stanza is for this identity.

        Raises:
            HeaderError: A stanza of this identity's type is malformed.
        """

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"A {type(self).__name__} is not pickled: its secret would be in clear.")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"
