"""For stocks of hundreds of thousands of packets: counts read from indexes alone, and the backlog's size kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Widen the index of what is due, index the centre's statuses, keep the backlog's size and age."""
    schema = context.config.attributes["schema"]
    is_open = sa.text("state = 'open'")
    has_status = sa.text("status IS NOT NULL")

    op.drop_index("ktpsync_delivery_due", "ktpsync_delivery", schema=schema)
    op.create_index(
        "ktpsync_delivery_due",
        "ktpsync_delivery",
        ["dest", "urgent", "due_ms", "id", "owner", "size"],
        schema=schema,
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_index(
        "ktpsync_packet_status",
        "ktpsync_packet",
        ["status", "location", "status_ms", "packet_id"],
        schema=schema,
        sqlite_where=has_status,
        postgresql_where=has_status,
    )
    for name in ("backlog", "oldest_ms"):
        op.add_column("ktpsync_outbox", sa.Column(name, sa.BigInteger), schema=schema)
