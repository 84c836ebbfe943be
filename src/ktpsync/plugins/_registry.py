"""Finds plugins and makes backends. Listing imports no backend; choosing one imports that one."""

from __future__ import annotations

import difflib
import inspect
import logging
import os
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Final

import attrs
import pluggy
from attrs import evolve

from ktpsync.errors import KtpsyncError, PluginError, UnknownBackendError
from ktpsync.plugins import _hookspecs
from ktpsync.plugins._hookspecs import PROJECT
from ktpsync.plugins._loading import PluginInfo, info_of, load_one
from ktpsync.plugins._mistakes import TELL, mistake_told
from ktpsync.plugins._observers import Observers
from ktpsync.plugins._resolve import backend_class, reading_function, settings_class
from ktpsync.plugins._secrets import BUILT_IN_SOURCES, SecretSources
from ktpsync.plugins._settings import read_settings
from ktpsync.plugins._spec import BackendSpec, SecretProvider
from ktpsync.plugins._versions import PLUGIN_API_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import ModuleType

    from ktpsync.plugins._backend import Backend, BackendContext
    from ktpsync.plugins._secrets import ReadSecret

DISABLE_VARIABLE: Final = "KTPSYNC_DISABLE_PLUGINS"
"""Environment variable: plugins, each as ``name``, ``distribution`` or ``distribution:name``, separated by
commas; or ``all``."""


_ALL: Final = frozenset({"all", "1"})

_log = logging.getLogger("ktpsync.plugins")


class PluginRegistry:
    """All plugins of this installation. Made by :meth:`load`.

    Args:
        entry_points: Where plugins are announced.
        disabled: Names of plugins that are not loaded; ``all`` stands for every one.
        api_version: The plugin interface of this release.
        hookspecs: The module or class that specifies the hooks.
    """

    def __init__(
        self,
        entry_points: Iterable[metadata.EntryPoint],
        *,
        disabled: frozenset[str] = frozenset(),
        api_version: int = PLUGIN_API_VERSION,
        hookspecs: ModuleType | type = _hookspecs,
    ) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._backends: dict[str, BackendSpec] = {}
        self._secrets: dict[str, SecretProvider] = {}
        self._plugins: dict[str, PluginInfo] = {}
        self.notify = Observers(self._manager)
        offers = {}
        for entry_point in entry_points:
            info = info_of(entry_point)
            if disabled & {info.name, info.distribution, info.key, *_ALL}:
                reason = f"disabled by {DISABLE_VARIABLE}"
                self._plugins[info.key] = evolve(info, rejected=reason, disabled=True)
                continue
            offer = load_one(self._manager, entry_point, info, api_version=api_version)
            self._plugins[info.key] = offer.info
            offers[info.key] = offer.specs
        self._settle(offers)
        self._sources = SecretSources(
            {name: partial(reading_function, provider) for name, provider in self._secrets.items()}
        )
        known = {name for info in self.plugins() for name in (info.name, info.distribution, info.key)}
        for name in sorted(disabled - known - _ALL):
            _log.warning(
                "%s names %r, which is no plugin; `ktpsync plugins` lists them.", DISABLE_VARIABLE, name
            )

    @classmethod
    def load(cls) -> PluginRegistry:
        """Return all plugins announced in the entry-point group ``ktpsync``."""
        names = os.environ.get(DISABLE_VARIABLE, "").split(",")
        disabled = frozenset(name.strip() for name in names if name.strip())
        found = sorted(metadata.entry_points(group=PROJECT), key=lambda entry_point: entry_point.name)
        return cls(found, disabled=disabled)

    def plugins(self) -> tuple[PluginInfo, ...]:
        """Return all plugins found, the rejected ones with the reason."""
        return tuple(self._plugins.values())

    def backends(self) -> Mapping[str, BackendSpec]:
        """Return all usable backends by name."""
        return dict(self._backends)

    def secret_sources(self) -> SecretSources:
        """Return where secrets can be read from. A provider is imported when a setting first names it."""
        return self._sources

    def spec(self, backend: str) -> BackendSpec:
        """Return how a backend was announced.

        Raises:
            UnknownBackendError: No usable plugin offers it; the message says why, as far as is known.
        """
        if backend in self._backends:
            return self._backends[backend]
        for info in self._plugins.values():
            if info.rejected is not None and backend in (info.name, *info.backends):
                raise UnknownBackendError(
                    f"The backend {backend!r} of {info.distribution} is not used: {info.rejected}."
                )
        close = difflib.get_close_matches(backend, self._backends, n=1)
        known = ", ".join(sorted(self._backends)) or "none"
        hint = f"Perhaps {close[0]!r}." if close else f"There are: {known}."
        raise UnknownBackendError(
            f"No plugin offers a backend {backend!r}. {hint} `ktpsync plugins` lists them."
        )

    def settings_class(self, backend: str) -> type:
        """Import a backend's settings and return their class.

        Raises:
            UnknownBackendError: No usable plugin offers it.
            PluginError: It cannot be imported, or is no frozen attrs class.
        """
        return settings_class(self.spec(backend))

    def backend_class(self, backend: str) -> type[Backend]:
        """Import a backend and return its class.

        Raises:
            UnknownBackendError: No usable plugin offers it.
            PluginError: It cannot be imported, or is no backend.
        """
        return backend_class(self.spec(backend))

    def reading_function(self, provider: str) -> ReadSecret:
        """Import a secret provider and return the function that reads.

        Raises:
            PluginError: No usable plugin offers it, or it cannot be imported.
        """
        if provider not in self._secrets:
            raise PluginError(f"No plugin offers a secret provider {provider!r}.")
        return reading_function(self._secrets[provider])

    def make(
        self,
        backend: str,
        settings: Mapping[str, object],
        context: BackendContext,
        *,
        where: str,
        base: Path,
        also: Iterable[str] = (),
    ) -> Backend:
        """Import a backend and make an instance.

        Args:
            backend: Its name.
            settings: Its settings as they stand in the file.
            context: What ktpsync gives to every backend.
            where: What to call the settings in messages.
            base: The folder that relative paths in the settings start from.
            also: Settings that stand in the same table and are not the backend's, for suggestions.

        Raises:
            UnknownBackendError: No usable plugin offers it.
            PluginError: It cannot be imported, what is imported is not usable, or its constructor fails.
            ConfigError: The settings have problems; all of them are listed.
        """
        spec = self.spec(backend)
        kind = settings_class(spec)
        config: object = read_settings(
            kind, settings, where=where, base=base, secrets=self._sources, also=also
        )
        # It would never get what stands there: ktpsync reads it itself.
        own = {attribute.name for attribute in attrs.fields(kind)}
        if taken := sorted(own.intersection(also)):
            raise PluginError(
                f"{context.name} cannot be used: the backend {backend!r} has settings whose names ktpsync uses itself "
                f"({', '.join(taken)}). Tell the author of {self.offering(backend)}."
            )
        factory = backend_class(spec)
        try:
            inspect.signature(factory).bind(config, context)
        except TypeError as error:
            raise PluginError(
                f"The backend {backend!r} cannot be made: {error}. Its class must take (config, context)."
            ) from error
        try:
            return factory(config, context)  # type: ignore[call-arg]  # the author's interface
        except KtpsyncError:
            raise
        except Exception as error:
            mistake_told(error)
            # The text of such an error may hold a secret of the settings.
            raise PluginError(
                f"{context.name} cannot be used: {type(error).__name__} in {self.offering(backend)}. {TELL}"
            ) from error

    def offering(self, backend: str) -> str:
        """Name the plugin that offers a backend, with its version, for a person."""
        for info in self._plugins.values():
            if info.rejected is None and backend in info.backends:
                return f"the plugin {info.key}, version {info.version}"
        return f"the plugin of the backend {backend!r}"

    def _settle(self, offers: Mapping[str, tuple[BackendSpec | SecretProvider, ...]]) -> None:
        """Take what is offered, and refuse all plugins that claim what another one claims too."""
        claims: dict[tuple[type, str], list[str]] = {}
        for key, specs in offers.items():
            for spec in specs:
                claims.setdefault((type(spec), spec.name), []).append(key)
        for (kind, name), claimants in claims.items():
            if len(claimants) > 1:
                self._reject_rivals("backend" if kind is BackendSpec else "secret provider", name, claimants)
            elif kind is SecretProvider and name in BUILT_IN_SOURCES:
                self._reject(claimants[0], f"it offers the secret provider {name!r}, which is built in")
        for key, specs in offers.items():
            if self._plugins[key].rejected is not None:
                continue
            self._backends |= {spec.name: spec for spec in specs if isinstance(spec, BackendSpec)}
            self._secrets |= {spec.name: spec for spec in specs if isinstance(spec, SecretProvider)}

    def _reject_rivals(self, kind: str, name: str, claimants: list[str]) -> None:
        told = " and ".join(claimants)
        for key in claimants:
            self._reject(
                key,
                f"{told} both offer a {kind} {name!r}, so none of them is used; uninstall one, or name the one "
                f"to leave out in {DISABLE_VARIABLE}",
            )

    def _reject(self, key: str, reason: str) -> None:
        self._plugins[key] = evolve(self._plugins[key], rejected=reason)
        if self._manager.has_plugin(key):
            self._manager.unregister(name=key)
