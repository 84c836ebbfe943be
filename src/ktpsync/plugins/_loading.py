"""Loads one plugin after the other; one that is broken is named and left out, and the others work."""

from __future__ import annotations

import contextlib
import difflib
import logging
import warnings
from typing import TYPE_CHECKING, TypeVar

from attrs import evolve, frozen

from ktpsync.plugins._spec import BackendSpec, SecretProvider
from ktpsync.plugins._versions import accepted_versions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib import metadata
    from types import ModuleType

    import pluggy

S = TypeVar("S", BackendSpec, SecretProvider)

_log = logging.getLogger("ktpsync.plugins")

_OFFERING = frozenset({"ktpsync_backends", "ktpsync_secret_providers"})


@frozen(kw_only=True)
class PluginInfo:
    """A plugin as it was found.

    Args:
        name: Its entry point's name.
        distribution: The installed package it comes from.
        version: That package's version.
        backends: Names of the backends it offers.
        secret_providers: Names of the secret providers it offers.
        observes: Names of the hooks through which it observes.
        api_version: The plugin interface that it was written for, if it offers anything.
        rejected: Why it is not used, or ``None``.
        disabled: Whether that is because somebody disabled it.
        notes: What will stop working with a later release.
    """

    name: str
    distribution: str
    version: str
    backends: tuple[str, ...] = ()
    secret_providers: tuple[str, ...] = ()
    observes: tuple[str, ...] = ()
    api_version: int | None = None
    rejected: str | None = None
    disabled: bool = False
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The plugin's name that no other plugin has: ``distribution:name``."""
        return f"{self.distribution}:{self.name}"


@frozen(kw_only=True)
class Offer:
    """A plugin with what it offers; nothing, if it is rejected.

    Args:
        info: The plugin.
        specs: What it offers.
    """

    info: PluginInfo
    specs: tuple[BackendSpec | SecretProvider, ...] = ()


class _UnusableError(Exception):
    """The plugin cannot be used; the message says why."""


def info_of(entry_point: metadata.EntryPoint) -> PluginInfo:
    """Return what is known of a plugin before it is loaded."""
    distribution, version = "unknown", "unknown"
    if entry_point.dist is not None:
        # An installation that was interrupted can lack its metadata, and says so in several ways.
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Each access reads and parses the file.
            found = entry_point.dist.metadata
            distribution = found["Name"] or distribution
            version = found["Version"] or version
    return PluginInfo(name=entry_point.name, distribution=distribution, version=version)


def load_one(
    manager: pluggy.PluginManager, entry_point: metadata.EntryPoint, info: PluginInfo, *, api_version: int
) -> Offer:
    """Import a plugin's announcement and register its hooks, or say why not.

    Args:
        manager: Where to.
        entry_point: Where the plugin is announced.
        info: What :func:`info_of` says of it.
        api_version: The plugin interface of this release.
    """
    try:
        module: ModuleType = entry_point.load()
        notes = _register(manager, module, info.key)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a broken plugin must not take the host down
        return Offer(info=evolve(info, rejected=f"it failed to load: {_told(error)}"))
    try:
        observes = _observed(manager, module)
        backends = _collect(manager, module, "ktpsync_backends", BackendSpec)
        providers = _collect(manager, module, "ktpsync_secret_providers", SecretProvider)
        info = evolve(
            info,
            backends=tuple(spec.name for spec in backends),
            secret_providers=tuple(spec.name for spec in providers),
            observes=observes,
        )
        specs: tuple[BackendSpec | SecretProvider, ...] = (*backends, *providers)
        version, aging = _version(specs, api_version)
        info = evolve(info, api_version=version, notes=(*aging, *notes))
        _check_version(version, api_version)
    except _UnusableError as error:
        manager.unregister(module)
        return Offer(info=evolve(info, rejected=str(error)))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - see above
        manager.unregister(module)
        return Offer(info=evolve(info, rejected=f"it failed to load: {_told(error)}"))
    for note in info.notes:
        _log.warning("Plugin %s: %s", info.key, note)
    return Offer(info=info, specs=specs)


def _register(manager: pluggy.PluginManager, module: ModuleType, name: str) -> list[str]:
    """Register a plugin; return what pluggy warns of: hooks and arguments that are deprecated."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        manager.register(module, name=name)
    return [str(warning.message) for warning in caught]


def _observed(manager: pluggy.PluginManager, module: ModuleType) -> tuple[str, ...]:
    """Return the hooks through which a plugin observes; refuse what could never be called."""
    known = [caller.name for caller in _callers(manager) if caller.has_spec()]
    callers = manager.get_hookcallers(module) or []
    implemented = {caller.name for caller in callers}
    for name in known:
        if name not in implemented and callable(getattr(module, name, None)):
            raise _UnusableError(f"its {name} lacks @hookimpl")
    if not callers:
        raise _UnusableError("it implements no hook")
    observed = []
    for caller in callers:
        (implementation,) = (found for found in caller.get_hookimpls() if found.plugin is module)
        if implementation.hookwrapper or implementation.wrapper:
            raise _UnusableError(f"it wraps {caller.name}; hooks of ktpsync cannot be wrapped")
        if caller.has_spec():
            observed.append(caller.name)
        elif not implementation.optionalhook:
            close = difflib.get_close_matches(caller.name, known, n=1)
            hint = f"; perhaps {close[0]}" if close else ""
            raise _UnusableError(f"it implements {caller.name}, which is no hook{hint}")
    return tuple(sorted(set(observed) - _OFFERING))


def _callers(manager: pluggy.PluginManager) -> Iterable[pluggy.HookCaller]:
    return vars(manager.hook).values()


def _collect(manager: pluggy.PluginManager, module: ModuleType, hook: str, kind: type[S]) -> list[S]:
    """Return what a plugin yields through an offering hook, checked: the typed wrapper of the call."""
    caller: pluggy.HookCaller = getattr(manager.hook, hook)
    specs: list[S] = []
    for implementation in caller.get_hookimpls():
        if implementation.plugin is not module:
            continue
        for spec in implementation.function() or ():  # type: ignore[attr-defined]  # checked below
            if not isinstance(spec, kind):
                raise _UnusableError(f"{hook} gives a {type(spec).__name__}, not a {kind.__name__}")
            specs.append(spec)
    names = [spec.name for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _UnusableError(f"it offers {', '.join(twice)} twice")
    return specs


def _version(
    specs: tuple[BackendSpec | SecretProvider, ...], current: int
) -> tuple[int | None, tuple[str, ...]]:
    versions = {spec.api_version for spec in specs}
    if not versions:
        return None, ()
    if len(versions) > 1:
        raise _UnusableError(f"it says that it was written for several plugin APIs: {sorted(versions)}")
    (version,) = versions
    if version == current - 1:
        return version, (
            f"it was written for plugin API {version}; the next release of ktpsync refuses it. Upgrade it.",
        )
    return version, ()


def _check_version(version: int | None, current: int) -> None:
    accepted = accepted_versions(current)
    if version is None or version in accepted:
        return
    wanted = " or ".join(map(str, accepted))
    upgrade = "ktpsync" if version > current else "the plugin"
    raise _UnusableError(f"it was written for plugin API {version}, this is {wanted}; upgrade {upgrade}")


def _told(error: BaseException) -> str:
    # attrs' validators put the sentence first and the objects that it is about after it.
    sentence = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    return f"{type(error).__name__}: {sentence}".rstrip(": ").replace("\n", " ")
