"""The hooks that plugins can implement.

Two hooks offer something, and are called once when ktpsync starts. The others observe. Observers are
told after the work is durable and away from the threads that do it:

- one by one, in the order in which things happened, each at most once;
- each has a few seconds; one that takes longer, or raises, is reported by its plugin's name, and one that
  hangs is told nothing more until it comes back;
- when they are slower than the work for long, the newest events are dropped, and the log says how many;
- none of this delays, repeats or undoes a delivery.

What must not be missed is read from the audit trail, which holds every event. A hook takes only the
arguments that it names, and must not change the data of ktpsync.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ktpsync.plugins._spec import BackendSpec, SecretProvider

PROJECT = "ktpsync"
"""pluggy's project name and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def ktpsync_backends() -> Iterable[BackendSpec]:  # type: ignore[empty-body]
    """Offer backends.

    Called once when ktpsync starts, also for ``ktpsync --help``: name the classes, import nothing.

    Returns:
        What the plugin offers; two plugins that offer the same name are both refused.

    Example:
        ```python
        @hookimpl
        def ktpsync_backends():
            yield BackendSpec(
                name="sftp",
                api_version=1,
                summary="Store packets on an SFTP server.",
                config="ktpsync_sftp.backend:SftpSettings",
                factory="ktpsync_sftp.backend:SftpBackend",
            )
        ```
    """


@hookspec
def ktpsync_secret_providers() -> Iterable[SecretProvider]:  # type: ignore[empty-body]
    """Offer places that secrets are read from, such as a password store of the organisation.

    Called once when ktpsync starts. With this example a setting can say ``token = { pass = "ktpsync/central" }``.

    Returns:
        What the plugin offers; ``env`` and ``file`` are taken.

    Example:
        ```python
        @hookimpl
        def ktpsync_secret_providers():
            yield SecretProvider(
                name="pass",
                api_version=1,
                summary="Secrets from the standard unix password manager.",
                read="ktpsync_pass:read",
            )


        def read(reference):
            found = subprocess.run(["pass", "show", reference], capture_output=True, text=True)
            return found.stdout.splitlines()[0] if found.returncode == 0 else None
        ```
    """


@hookspec
def ktpsync_packet_submitted(packet_id: str, sha256: str, size: int) -> None:
    """Observe that a packet is durable in the outbox.

    Not called for a packet that joins the app's own transaction: only the app knows when it commits.

    Args:
        packet_id: The new packet.
        sha256: SHA-256 of its sealed bytes, in hexadecimal.
        size: Bytes.

    Example:
        ```python
        @hookimpl
        def ktpsync_packet_submitted(packet_id, size):
            counters["recorded"] += 1
            counters["bytes"] += size
        ```
    """


@hookspec
def ktpsync_delivered(packet_id: str, destination: str) -> None:
    """Observe that a destination gave a receipt for a packet.

    Args:
        packet_id: The packet.
        destination: The destination's name in the configuration.

    Example:
        ```python
        @hookimpl
        def ktpsync_delivered(packet_id, destination):
            counters[f"delivered to {destination}"] += 1
        ```
    """


@hookspec
def ktpsync_rejected(packet_id: str, destination: str, code: str, reason: str) -> None:
    """Observe that a destination refused a packet for good, so that a person must look.

    Args:
        packet_id: The packet.
        destination: The destination's name in the configuration.
        code: The kind of refusal, such as ``rejected``, ``conflict`` or ``quota``.
        reason: What the destination said; no personal data.

    Example:
        ```python
        @hookimpl
        def ktpsync_rejected(packet_id, destination, reason):
            messages.append(f"{destination} refused {packet_id}: {reason}")
        ```
    """


@hookspec
def ktpsync_paused(destination: str, reason: str) -> None:
    """Observe that a destination was stopped until a person resumes it, such as for a token that expired.

    Args:
        destination: The destination's name in the configuration.
        reason: What happened, and what to do.

    Example:
        ```python
        @hookimpl
        def ktpsync_paused(destination, reason):
            messages.append(f"{destination} is stopped: {reason}")
        ```
    """


@hookspec
def ktpsync_status_changed(packet_id: str, status: str, previous: str | None) -> None:
    """Observe that the centre changed a packet's registration status.

    Args:
        packet_id: The packet.
        status: The status in the centre's own words.
        previous: The one before; ``None`` for the first.

    Example:
        ```python
        @hookimpl
        def ktpsync_status_changed(packet_id, status, previous):
            if status == "DUPLICATE_RECORD":
                messages.append(f"{packet_id} is a duplicate.")
        ```
    """


@hookspec
def ktpsync_backup_finished(backup: str, snapshot: str, packets: int) -> None:
    """Observe that a backup is complete.

    Args:
        backup: The backup's name in the configuration.
        snapshot: The new snapshot.
        packets: How many packets it added.

    Example:
        ```python
        @hookimpl
        def ktpsync_backup_finished(backup, packets):
            counters[f"copied to {backup}"] += packets
        ```
    """


@hookspec
def ktpsync_backup_overdue(backup: str, reason: str) -> None:
    """Observe that a person must see to a backup: the last one is too old, or its disk must be plugged in.

    Called by the service, once a day for each backup until it is seen to.

    Args:
        backup: The backup's name in the configuration.
        reason: What is wrong and what to do, in a sentence.

    Example:
        ```python
        @hookimpl
        def ktpsync_backup_overdue(reason):
            messages.append(reason)
        ```
    """
