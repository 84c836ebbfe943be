"""The HTTP backend keeps the contract against the sandbox centre."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from ktpsync import age
from ktpsync.backends.http.backend import HttpBackend, HttpSettings
from ktpsync.central import CentralSettings, running
from ktpsync.plugins import BackendContext, Secret
from ktpsync.testing import CentralContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


OFFICES = {f"token-{number}": f"office-{number}" for number in range(200)}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A centre that every test finds empty, because each is another office."""
    settings = CentralSettings(
        folder=tmp_path_factory.mktemp("centre"),
        identities=[age.generate_identity("x25519")],
        tokens=OFFICES,
    )
    with running(settings) as url:
        yield url


@pytest.fixture(scope="module")
def tokens() -> Iterator[str]:
    """The tokens of offices that sent nothing yet."""
    return iter(OFFICES)


def client(url: str, token: str) -> HttpBackend:
    """Return a client of the centre."""
    return HttpBackend(HttpSettings(url=url, token=Secret(token)), BackendContext(name="central"))


class TestHttp(CentralContract):
    """Over real sockets."""

    @pytest.fixture
    def backend(self, url: str, tokens: Iterator[str]) -> Iterator[HttpBackend]:
        """Return a backend connected to a centre that holds nothing of this office."""
        with client(url, next(tokens)) as backend:
            yield backend

    @pytest.fixture
    def through_line(self, url: str) -> tuple[int, Callable[[int], HttpBackend]]:
        """Return the centre's port, and what connects through another one."""
        port = urlsplit(url).port
        assert port is not None
        return port, lambda other: client(f"http://127.0.0.1:{other}", "right-token")

    @pytest.fixture
    def unreachable_backend(self) -> Iterator[HttpBackend]:
        """Return a backend whose centre does not listen."""
        with client("http://127.0.0.1:9", "right-token") as backend:
            yield backend

    @pytest.fixture
    def refused_backend(self, url: str) -> Iterator[HttpBackend]:
        """Return a backend with a token that the centre does not know."""
        with client(url, "wrong-token") as backend:
            yield backend
