"""Something that is wrong with the bytes of a sample."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


@frozen
class Fault:
    """Something that is wrong with the bytes.

    Args:
        code: The problem's code.
        values: What the message names.
    """

    code: str
    values: Mapping[str, object] = field(factory=dict)


class FaultError(Exception):
    """Reading cannot go on because of a fault.

    Args:
        code: The problem's code.
        values: What the message names.
    """

    def __init__(self, code: str, **values: object) -> None:
        self.fault = Fault(code, values)
        super().__init__(code)
