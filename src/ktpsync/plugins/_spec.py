"""How a plugin announces a backend."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class BackendSpec:
    """A backend that a plugin offers, without importing it.

    Args:
        name: The name that users write after ``backend =``; lower case.
        api_version: The ``PLUGIN_API_VERSION`` that the plugin was written for.
        summary: One sentence for ``ktpsync plugins``.
        config: Import string ``package.module:Class`` of the frozen attrs class of its settings.
        factory: Import string of the backend class, called as ``factory(config, context)``.
    """

    name: str
    api_version: int
    summary: str
    config: str
    factory: str
