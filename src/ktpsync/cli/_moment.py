"""Dates and moments on the command line."""

from __future__ import annotations

from datetime import datetime

import click


class Moment(click.ParamType[int]):
    """A date or a moment; without a time zone it is meant as this machine's clock shows it."""

    name = "date"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return it in milliseconds since 1970."""
        try:
            return round(datetime.fromisoformat(str(value)).astimezone().timestamp() * 1000)
        except ValueError:
            self.fail(f"{value!r} is not a date such as 2026-11-25 or 2026-11-25T08:00+07:00.", param, ctx)
