"""Announces the backend. Must not import it: this runs at every start of ktpsync."""

from ktpsync.plugins import BackendSpec, hookimpl


@hookimpl
def ktpsync_backends():
    """Offer the backend."""
    yield BackendSpec(
        name="sftp",
        api_version=1,
        summary="Packets and backups on an SFTP server.",
        config="ktpsync_sftp.backend:SftpSettings",
        factory="ktpsync_sftp.backend:SftpBackend",
    )
