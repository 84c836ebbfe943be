"""Alembic revisions of the outbox schema, run by :mod:`ktpsync.outbox` itself."""
