"""Outages on request, for tests and demonstrations."""

from __future__ import annotations

import threading

from attrs import define, field

from ktpsync.central._problem import Problem


@define
class Faults:
    """Which troubles the centre plays at the moment.

    Args:
        outage: Whether every request is answered with 503.
        retry_after: Seconds for ``Retry-After``, if it should be sent.
        fail_next: How many requests are answered with ``fail_status`` before it works again.
        fail_status: The status of those answers.
        wrong_receipts: How many receipts name another digest.
    """

    outage: bool = False
    retry_after: int | None = None
    fail_next: int = 0
    fail_status: int = 500
    wrong_receipts: int = 0
    _lock: threading.Lock = field(factory=threading.Lock, repr=False)

    def strike(self) -> None:
        """Raise the trouble that is due, if any.

        Raises:
            Problem: It is.
        """
        with self._lock:
            headers = None if self.retry_after is None else {"Retry-After": str(self.retry_after)}
            if self.outage:
                raise Problem(503, "De-duplication is down. Keep recording; send later.", headers=headers)
            if self.fail_next > 0:
                self.fail_next -= 1
                raise Problem(self.fail_status, "A fault was asked for.", headers=headers)

    def distort(self, receipt: dict[str, object]) -> dict[str, object]:
        """Return the receipt, or a wrong one where that is asked for."""
        with self._lock:
            if self.wrong_receipts > 0:
                self.wrong_receipts -= 1
                return {**receipt, "sha256": "0" * 64}
        return receipt
