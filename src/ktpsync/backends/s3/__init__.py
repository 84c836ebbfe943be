"""Packets and backups in S3-compatible storage."""
