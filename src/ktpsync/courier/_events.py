"""Log records as one line of JSON each, for machines that read logs."""

from __future__ import annotations

import json
import logging

from ktpsync.clock import utc_from_ms, utc_text


class JsonFormatter(logging.Formatter):
    """Formats a log record as one line of JSON: ``at``, ``level``, ``logger``, ``message`` and the event's facts.

    Facts come from ``extra={"facts": {...}}``, such as ``event``, ``packet_id`` and ``destination``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "at": utc_text(utc_from_ms(int(record.created * 1000))),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        facts = getattr(record, "facts", None)
        if isinstance(facts, dict):
            line |= facts
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
