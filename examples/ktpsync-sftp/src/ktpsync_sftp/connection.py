"""Connections to the server: one for each thread, since paramiko's are not for several."""

import base64
import threading
from contextlib import contextmanager

import paramiko

from ktpsync.errors import AuthError, BackendError, UnavailableError


class Connections:
    """Gives each thread a connection of its own, and makes a new one where the old one broke."""

    def __init__(self, settings, name):
        self._settings = settings
        self._name = name
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._all = []

    @contextmanager
    def session(self):
        """Give this thread's SFTP session; what breaks in it is told as ktpsync's errors."""
        try:
            yield self._session()
        except (BackendError, FileNotFoundError, FileExistsError):
            raise
        except paramiko.AuthenticationException as error:
            raise AuthError(
                f"{self._told()} does not accept user and key or password. Check both."
            ) from error
        except paramiko.BadHostKeyException as error:
            raise AuthError(
                f"{self._told()} shows another host key than the one in the settings. Ask who runs it; nothing was sent."
            ) from error
        except PermissionError as error:
            raise AuthError(
                f"{self._told()} lets {self._settings.user} not do this: {error.strerror}."
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            self._forget()
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise UnavailableError(
                f"{self._told()} cannot be reached, or refuses: {reason or type(error).__name__}. It is tried again later."
            ) from error

    def close(self):
        """Close all connections."""
        with self._lock:
            clients, self._all = self._all, []
        for client in clients:
            client.close()

    def _session(self):
        session = getattr(self._mine, "session", None)
        if session is None:
            settings = self._settings
            client = paramiko.SSHClient()
            client.get_host_keys().add(self._host(), *_host_key(settings.host_key))
            client.set_missing_host_key_policy(paramiko.RejectPolicy())
            with self._lock:
                self._all.append(client)
            client.connect(
                settings.host,
                settings.port,
                settings.user,
                password=settings.password.reveal() if settings.password else None,
                key_filename=str(settings.key_file) if settings.key_file else None,
                timeout=settings.timeout,
                banner_timeout=settings.timeout,
                auth_timeout=settings.timeout,
                allow_agent=False,
                look_for_keys=False,
            )
            session = client.open_sftp()
            session.get_channel().settimeout(settings.timeout)
            self._mine.client, self._mine.session = client, session
        return session

    def _forget(self):
        client = self._mine.__dict__.pop("client", None)
        self._mine.__dict__.pop("session", None)
        if client is not None:
            client.close()
            with self._lock:
                if client in self._all:
                    self._all.remove(client)

    def _host(self):
        settings = self._settings
        return (
            settings.host
            if settings.port == paramiko.config.SSH_PORT
            else f"[{settings.host}]:{settings.port}"
        )

    def _told(self):
        return f"{self._name}: the SFTP server {self._settings.host}:{self._settings.port}"


def _host_key(text):
    """Return type and key of a line such as `ssh-ed25519 AAAA...`."""
    kind, _, encoded = text.partition(" ")
    return kind, paramiko.PKey.from_type_string(kind, base64.b64decode(encoded.split()[0]))
