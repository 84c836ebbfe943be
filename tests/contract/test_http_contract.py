"""The HTTP backend keeps the contract against the sandbox centre."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ktpsync import age
from ktpsync.backends.http.backend import HttpBackend, HttpSettings
from ktpsync.central import CentralSettings, running
from ktpsync.plugins import BackendContext, Secret
from ktpsync.testing import CentralContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class TestHttp(CentralContract):
    """Over real sockets."""

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[HttpBackend]:
        """Return a backend connected to a new centre."""
        settings = CentralSettings(
            folder=tmp_path, identities=[age.generate_identity("x25519")], tokens={"right-token": "3578"}
        )
        with running(settings) as url:
            client = HttpSettings(url=url, token=Secret("right-token"))
            with HttpBackend(client, BackendContext(name="central")) as backend:
                yield backend

    @pytest.fixture
    def unreachable_backend(self) -> Iterator[HttpBackend]:
        """Return a backend whose centre does not listen."""
        client = HttpSettings(url="http://127.0.0.1:9", token=Secret("right-token"))
        with HttpBackend(client, BackendContext(name="central")) as backend:
            yield backend

    @pytest.fixture
    def refused_backend(self, tmp_path: Path) -> Iterator[HttpBackend]:
        """Return a backend with a token that the centre does not know."""
        settings = CentralSettings(
            folder=tmp_path, identities=[age.generate_identity("x25519")], tokens={"right-token": "3578"}
        )
        with running(settings) as url:
            client = HttpSettings(url=url, token=Secret("wrong-token"))
            with HttpBackend(client, BackendContext(name="central")) as backend:
                yield backend
