"""The first schema: packets, deliveries, destinations, statuses and the audit trail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite numbers rows by itself only where the type is INTEGER."""


def upgrade() -> None:
    """Create the tables. All times are milliseconds since 1970."""
    schema = context.config.attributes["schema"]

    op.create_table(
        "ktpsync_outbox",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("outbox_id", sa.Text, nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        schema=schema,
    )
    op.create_table(
        "ktpsync_packet",
        sa.Column("packet_id", sa.Text, primary_key=True),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("reference", sa.Text, unique=True),
        sa.Column("fingerprint", sa.LargeBinary),
        sa.Column("person", sa.LargeBinary),
        sa.Column("urgent", sa.Integer, nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("status", sa.Text),
        sa.Column("status_ms", BIG),
        schema=schema,
    )
    op.create_index(
        "ktpsync_packet_person",
        "ktpsync_packet",
        ["person"],
        schema=schema,
        sqlite_where=sa.text("person IS NOT NULL"),
        postgresql_where=sa.text("person IS NOT NULL"),
    )
    op.create_table(
        "ktpsync_destination",
        sa.Column("dest", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("required", sa.Integer, nullable=False),
        sa.Column("active", sa.Integer, nullable=False),
        sa.Column("paused", sa.Text),
        sa.Column("breaker", sa.Text, nullable=False),
        sa.Column("fail_run", sa.Integer, nullable=False),
        sa.Column("opened", sa.Integer, nullable=False),
        sa.Column("until_ms", BIG, nullable=False),
        sa.Column("throttled_ms", BIG, nullable=False),
        sa.Column("epoch", BIG, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("cursor", sa.Text),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("delivered", BIG, nullable=False),
        schema=schema,
    )
    packet_key = "ktpsync_packet.packet_id" if schema is None else f"{schema}.ktpsync_packet.packet_id"
    op.create_table(
        "ktpsync_delivery",
        sa.Column("id", BIG, primary_key=True, autoincrement=True),
        sa.Column("packet_id", sa.Text, sa.ForeignKey(packet_key), nullable=False),
        sa.Column("dest", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("urgent", sa.Integer, nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("due_ms", BIG, nullable=False),
        sa.Column("fence", BIG, nullable=False, server_default="0"),
        sa.Column("owner", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failing_ms", BIG, nullable=False, server_default="0"),
        sa.Column("last_failure_ms", BIG),
        sa.Column("code", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("receipt", sa.Text),
        sa.Column("settled_ms", BIG),
        sa.Column("verified_ms", BIG),
        sa.UniqueConstraint("packet_id", "dest", name="ktpsync_delivery_once"),
        schema=schema,
    )
    op.create_index(
        "ktpsync_delivery_due",
        "ktpsync_delivery",
        ["dest", "urgent", "due_ms", "id"],
        schema=schema,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "ktpsync_delivery_rejected",
        "ktpsync_delivery",
        ["dest", "id"],
        schema=schema,
        sqlite_where=sa.text("state = 'rejected'"),
        postgresql_where=sa.text("state = 'rejected'"),
    )
    op.create_table(
        "ktpsync_status",
        sa.Column("id", BIG, primary_key=True, autoincrement=True),
        sa.Column("packet_id", sa.Text, sa.ForeignKey(packet_key), nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("changed_ms", BIG, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.UniqueConstraint("packet_id", "status", "changed_ms", name="ktpsync_status_once"),
        schema=schema,
    )
    op.create_table(
        "ktpsync_audit",
        sa.Column("id", BIG, primary_key=True, autoincrement=True),
        sa.Column("seq", BIG, unique=True),
        sa.Column("at_ms", BIG, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("packet_id", sa.Text),
        sa.Column("dest", sa.Text),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("hash", sa.Text),
        schema=schema,
    )
    op.create_index("ktpsync_audit_packet", "ktpsync_audit", ["packet_id"], schema=schema)
    op.create_index(
        "ktpsync_audit_unchained",
        "ktpsync_audit",
        ["id"],
        schema=schema,
        sqlite_where=sa.text("seq IS NULL"),
        postgresql_where=sa.text("seq IS NULL"),
    )
    chain = op.create_table(
        "ktpsync_chain",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("seq", BIG, nullable=False),
        schema=schema,
    )
    op.bulk_insert(chain, [{"id": 1, "seq": 0}])
