"""Finds plugins and makes backends. Listing imports no backend; choosing one imports that one."""

from __future__ import annotations

import difflib
import importlib
import os
from importlib import metadata
from typing import TYPE_CHECKING, Final, cast

import pluggy
from attrs import evolve, frozen

from ktpsync.errors import PluginError, UnknownBackendError
from ktpsync.plugins import _hookspecs
from ktpsync.plugins._backend import Backend
from ktpsync.plugins._hookspecs import PLUGIN_API_VERSION, PROJECT
from ktpsync.plugins._observers import Observers
from ktpsync.plugins._settings import read_settings
from ktpsync.plugins._spec import BackendSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from types import ModuleType

    from ktpsync.plugins._backend import BackendContext

DISABLE_VARIABLE: Final = "KTPSYNC_DISABLE_PLUGINS"
"""Environment variable: names of plugins separated by commas, or ``all``."""

_ACCEPTED_VERSIONS: Final = frozenset({PLUGIN_API_VERSION, PLUGIN_API_VERSION - 1})
_EXTRAS: Final = {"boto3": "s3", "botocore": "s3"}
"""Missing module to the extra of ktpsync that installs it."""


@frozen(kw_only=True)
class PluginInfo:
    """A plugin as it was found.

    Args:
        name: Its entry point's name.
        distribution: The installed package it comes from.
        version: That package's version.
        offers: Names of the backends it offers.
        api_version: The plugin interface that its backends were written for, if it offers any.
        rejected: Why it is not used, or ``None``.
    """

    name: str
    distribution: str
    version: str
    offers: tuple[str, ...] = ()
    api_version: int | None = None
    rejected: str | None = None


class PluginRegistry:
    """All plugins of this installation. Made by :meth:`load`.

    Args:
        entry_points: Where plugins are announced.
        disabled: Names of plugins that are not loaded; ``all`` stands for every one.
    """

    def __init__(
        self, entry_points: Iterable[metadata.EntryPoint], *, disabled: frozenset[str] = frozenset()
    ) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(_hookspecs)
        self._specs: dict[str, BackendSpec] = {}
        self._plugins: dict[tuple[str, str], PluginInfo] = {}
        self.notify = Observers(self._manager)
        claims: dict[str, list[tuple[PluginInfo, BackendSpec]]] = {}
        for entry_point in entry_points:
            info, specs = self._load_one(entry_point, disabled)
            self._plugins[info.distribution, info.name] = info
            for spec in specs:
                claims.setdefault(spec.name, []).append((info, spec))
        for name, claimants in claims.items():
            if len(claimants) == 1:
                self._specs[name] = claimants[0][1]
            else:
                self._reject_rivals(name, [info for info, _ in claimants])

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
        return dict(self._specs)

    def spec(self, backend: str) -> BackendSpec:
        """Return how a backend was announced.

        Raises:
            UnknownBackendError: No usable plugin offers it; the message says why, as far as is known.
        """
        if backend in self._specs:
            return self._specs[backend]
        for info in self._plugins.values():
            if info.rejected is not None and backend in (info.name, *info.offers):
                raise UnknownBackendError(
                    f"The backend {backend!r} of {info.distribution} is not used: {info.rejected}."
                )
        close = difflib.get_close_matches(backend, self._specs, n=1)
        hint = (
            f"Perhaps {close[0]!r}." if close else f"There are: {', '.join(sorted(self._specs)) or 'none'}."
        )
        raise UnknownBackendError(
            f"No plugin offers a backend {backend!r}. {hint} `ktpsync plugins` lists them."
        )

    def make(
        self, backend: str, settings: Mapping[str, object], context: BackendContext, *, where: str, base: Path
    ) -> Backend:
        """Import a backend and make an instance.

        Args:
            backend: Its name.
            settings: Its settings as they stand in the file.
            context: What ktpsync gives to every backend.
            where: What to call the settings in messages.
            base: The folder that relative paths in the settings start from.

        Raises:
            UnknownBackendError: No usable plugin offers it.
            PluginError: It cannot be imported.
            ConfigError: The settings have problems; all of them are listed.
        """
        spec = self.spec(backend)
        config: object = read_settings(_resolve(spec, spec.config), settings, where=where, base=base)
        made = _resolve(spec, spec.factory)(config, context)
        if not isinstance(made, Backend):
            raise PluginError(
                f"The backend {backend!r} is a {type(made).__name__}, not a ktpsync.plugins.Backend."
            )
        return made

    def _load_one(
        self, entry_point: metadata.EntryPoint, disabled: frozenset[str]
    ) -> tuple[PluginInfo, list[BackendSpec]]:
        distribution = entry_point.dist
        info = PluginInfo(
            name=entry_point.name,
            distribution=distribution.name if distribution is not None else "unknown",
            version=distribution.version if distribution is not None else "unknown",
        )
        if disabled & {entry_point.name, "all", "1"}:
            return evolve(info, rejected=f"disabled by {DISABLE_VARIABLE}"), []
        try:
            module: ModuleType = entry_point.load()
            self._manager.register(module, name=f"{info.distribution}:{info.name}")
            specs = self._specs_of(module)
        except Exception as error:  # noqa: BLE001 - a broken plugin must not take the host down
            return evolve(info, rejected=f"it failed to load: {type(error).__name__}: {error}"), []
        versions = {spec.api_version for spec in specs}
        info = evolve(
            info, offers=tuple(spec.name for spec in specs), api_version=max(versions, default=None)
        )
        if not versions <= _ACCEPTED_VERSIONS:
            self._manager.unregister(module)
            wanted = " or ".join(str(version) for version in sorted(_ACCEPTED_VERSIONS))
            return evolve(
                info, rejected=f"it was written for plugin API {max(versions)}, this is {wanted}"
            ), []
        return info, specs

    def _specs_of(self, module: ModuleType) -> list[BackendSpec]:
        specs: list[BackendSpec] = []
        for implementation in self._manager.hook.ktpsync_backends.get_hookimpls():
            if implementation.plugin is module:
                specs += cast("Iterable[BackendSpec]", implementation.function())
        for spec in specs:
            if not isinstance(spec, BackendSpec):
                raise TypeError(f"ktpsync_backends yielded a {type(spec).__name__}, not a BackendSpec")
        return specs

    def _reject_rivals(self, backend: str, rivals: list[PluginInfo]) -> None:
        names = " and ".join(f"{info.distribution} ({info.name})" for info in rivals)
        for info in rivals:
            reason = f"{names} both offer a backend {backend!r}; uninstall or disable one"
            self._plugins[info.distribution, info.name] = evolve(info, rejected=reason)


def _resolve(spec: BackendSpec, target: str) -> type:
    module, _, name = target.partition(":")
    try:
        return cast("type", getattr(importlib.import_module(module), name))
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        hint = f"; run: pip install 'ktpsync[{extra}]'" if extra else ""
        raise PluginError(
            f"The backend {spec.name!r} needs the package {error.name!r}, which is missing{hint}."
        ) from error
    except (ImportError, AttributeError) as error:
        raise PluginError(f"The backend {spec.name!r} cannot be imported from {target}: {error}.") from error
