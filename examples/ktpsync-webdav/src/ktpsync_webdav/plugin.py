"""Announces the backend. Must not import it: this runs at every start of ktpsync."""

from ktpsync.plugins import BackendSpec, hookimpl


@hookimpl
def ktpsync_backends():
    """Offer the backend."""
    yield BackendSpec(
        name="webdav",
        api_version=1,
        summary="Packets and backups in a WebDAV folder, such as a Nextcloud.",
        config="ktpsync_webdav.backend:WebdavSettings",
        factory="ktpsync_webdav.backend:WebdavBackend",
    )
