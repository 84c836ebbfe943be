"""What every request passes first: the trouble that is played, then the question who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ktpsync.central._faults import Faults

if TYPE_CHECKING:
    from starlette.requests import Request

    from ktpsync.central._access import Access


class Gate:
    """The way in.

    Args:
        access: Who is let in.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self.faults = Faults()

    def office(self, request: Request) -> str:
        """Return the office that asks.

        Raises:
            Problem: An outage is played, or nobody that is known asks.
        """
        self.faults.strike()
        return self._access.office(request)
