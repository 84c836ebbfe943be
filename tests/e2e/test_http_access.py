"""Who talks to whom: TLS, client certificates, fetched tokens, proxies; real sockets and real certificates."""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from attrs import define, evolve, field

from ktpsync import age
from ktpsync.backends.http.backend import HttpBackend, HttpSettings, OAuthSettings
from ktpsync.central import CentralSettings, OAuthClient, Tls, running
from ktpsync.central._access import Access
from ktpsync.errors import AuthError, BackendError, ConfigError, UnavailableError
from ktpsync.plugins import BackendContext, Secret, read_settings
from ktpsync.testing import made_up_packet

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.conftest import BadLine

    from ktpsync.testing import ManualClock

NOW = datetime.now(UTC)
PAST = (NOW - timedelta(days=20), NOW - timedelta(days=10))
FUTURE = (NOW + timedelta(days=10), NOW + timedelta(days=20))


@define
class Authority:
    """Issues certificates into files."""

    ca: trustme.CA
    folder: Path
    numbers: Iterator[int] = field(factory=itertools.count)

    @property
    def file(self) -> Path:
        """The authority's own certificate."""
        path = self.folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(path))
        return path

    def server(self, *names: str, between: tuple[datetime, datetime] | None = None) -> Tls:
        """Return a centre's certificate."""
        start, end = between or (None, NOW + timedelta(days=1))
        path = self._write(self.ca.issue_cert(*names, not_before=start, not_after=end))
        return Tls(certificate=path, key=path)

    def office(self, name: str, *, end: datetime | None = None) -> Path:
        """Return a file with an office's certificate and key."""
        start = None if end is None else end - timedelta(days=1)
        leaf = self.ca.issue_cert("office.example", common_name=name, not_before=start, not_after=end)
        return self._write(leaf)

    def _write(self, leaf: trustme.LeafCert) -> Path:
        path = self.folder / f"{next(self.numbers)}.pem"
        leaf.private_key_and_cert_chain_pem.write_to_path(str(path))
        return path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority of certificates."""
    return Authority(trustme.CA(), tmp_path_factory.mktemp("authority"))


def new_settings(folder: Path) -> CentralSettings:
    """Return a centre with an office of each kind."""
    return CentralSettings(
        folder=folder,
        identities=[age.generate_identity("x25519")],
        tokens={"token-a": "office-a", "token-old": "office-a"},
        expiries={"token-old": NOW - timedelta(days=1)},
        clients={"client b": OAuthClient(office="office-b", secret="s:e c/ret")},
    )


@pytest.fixture
def settings(tmp_path: Path) -> CentralSettings:
    """A new centre."""
    return new_settings(tmp_path / "centre")


@pytest.fixture(scope="module")
def plain_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running centre without TLS, the same for all tests."""
    with running(new_settings(tmp_path_factory.mktemp("centre"))) as url:
        yield url


def client(url: str, context: BackendContext | None = None, **options: object) -> HttpBackend:
    """Return a client."""
    return HttpBackend(HttpSettings(url=url, **options), context or BackendContext(name="central"))  # type: ignore[arg-type]


def failure(url: str, **options: object) -> BackendError:
    """Return what a check of the centre ends with."""
    with client(url, **options) as backend, pytest.raises(BackendError) as caught:
        backend.check()
    return caught.value


# --- TLS ------------------------------------------------------------------------------------------------------------


def test_a_centre_whose_authority_is_configured_is_trusted(
    settings: CentralSettings, authority: Authority
) -> None:
    """Packets travel over TLS."""
    with running(evolve(settings, tls=authority.server("127.0.0.1"))) as url:
        assert url.startswith("https://")
        with client(url, token=Secret("token-a"), ca_file=authority.file) as backend:
            packet = made_up_packet()
            assert packet.sha256 == backend.deliver(packet).sha256


@pytest.mark.slow
def test_a_packet_goes_on_after_a_break_of_tls(
    settings: CentralSettings, authority: Authority, bad_line: Callable[..., BadLine]
) -> None:
    """A TLS connection that ends without a farewell is a broken line, not a question of trust."""
    packet = made_up_packet(bytes(500_000))
    with running(evolve(settings, tls=authority.server("127.0.0.1"))) as url:
        line = bad_line(url, drop_after=200_000)
        https = line.url.replace("http:", "https:")
        with client(https, token=Secret("token-a"), ca_file=authority.file) as backend:
            assert packet.sha256 == backend.deliver(packet).sha256

    assert line.up < 1_000_000


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        ("expired", "has expired, if this machine's clock is right"),
        ("not yet", "not valid yet: this machine's clock"),
        ("other host", "certificate for another name"),
        ("unknown authority", "signed by nobody this machine knows"),
    ],
)
def test_a_certificate_that_is_not_right_ends_the_connection(
    settings: CentralSettings, authority: Authority, flaw: str, words: str
) -> None:
    """Nothing is sent; it is tried again, because a clock gets set and a certificate renewed."""
    tls = {
        "expired": lambda: authority.server("127.0.0.1", between=PAST),
        "not yet": lambda: authority.server("127.0.0.1", between=FUTURE),
        "other host": lambda: authority.server("centre.example"),
        "unknown authority": lambda: authority.server("127.0.0.1"),
    }[flaw]()
    trust = {} if flaw == "unknown authority" else {"ca_file": authority.file}
    with running(evolve(settings, tls=tls)) as url:
        error = failure(url, token=Secret("token-a"), **trust)

    assert UnavailableError is type(error)
    assert words in str(error)


def test_checking_is_turned_off_by_a_loud_setting_only(
    settings: CentralSettings, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """The log and every check say so."""
    with (
        running(evolve(settings, tls=authority.server("centre.example"))) as url,
        client(url, token=Secret("token-a"), danger_accept_any_certificate=True) as backend,
        caplog.at_level(logging.WARNING, "ktpsync.http"),
        pytest.warns(match="Unverified HTTPS request"),
    ):
        assert backend.check().summary.startswith("UNSAFE, danger_accept_any_certificate")

    assert "may take the token" in caplog.text


@pytest.mark.parametrize("content", [None, "no certificate\n"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    """The destination stops; a person corrects the setting."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)

    error = failure("https://127.0.0.1:1/", ca_file=path)

    assert AuthError is type(error)
    assert f"the ca_file {path} cannot be used" in str(error)


def test_a_centre_on_ipv6(settings: CentralSettings) -> None:
    """The address stands in brackets."""
    with running(settings, host="::1") as url:
        assert url.startswith("http://[::1]:")
        with client(url, token=Secret("token-a")) as backend:
            packet = made_up_packet()
            assert packet.sha256 == backend.deliver(packet).sha256


# --- client certificates ----------------------------------------------------------------------------------------------


def test_offices_come_with_certificates(settings: CentralSettings, authority: Authority) -> None:
    """The common name is the office; each sees its own packets."""
    tls = evolve(authority.server("127.0.0.1"), client_ca=authority.file)
    packet = made_up_packet(b"x" * 700_000)
    with (
        running(evolve(settings, tls=tls)) as url,
        client(url, ca_file=authority.file, client_certificate=authority.office("office-c")) as ours,
        client(url, ca_file=authority.file, client_certificate=authority.office("office-d")) as others,
        client(url, ca_file=authority.file, token=Secret("token-a")) as with_token,
    ):
        assert packet.sha256 == ours.deliver(packet).sha256
        assert ["held", "missing", "missing"] == [
            next(iter(one.reconcile([packet]))).state.value for one in (ours, others, with_token)
        ]


@pytest.mark.parametrize("flaw", ["none", "unknown authority", "expired", "token as well"])
def test_certificates_that_are_not_right_are_turned_away(
    settings: CentralSettings, authority: Authority, flaw: str
) -> None:
    """The destination stops, and a person is told why; also when a whole packet was on its way."""
    tls = evolve(authority.server("127.0.0.1"), client_ca=authority.file)
    stranger = Authority(trustme.CA(), authority.folder, authority.numbers)
    options: dict[str, dict[str, object]] = {
        "none": {},
        "unknown authority": {"client_certificate": stranger.office("office-c")},
        "expired": {"client_certificate": authority.office("office-c", end=NOW - timedelta(days=1))},
        "token as well": {"client_certificate": authority.office("office-c"), "token": Secret("wrong")},
    }
    ca_file = authority.file
    with (
        running(evolve(settings, tls=tls)) as url,
        client(url, ca_file=ca_file, **options[flaw]) as backend,
        pytest.raises(AuthError) as caught,
    ):
        backend.deliver(made_up_packet(b"x" * 300_000))

    own = "does not accept this office's certificate"
    assert (own in str(caught.value)) is (flaw in {"unknown authority", "expired"})


@pytest.mark.parametrize("flaw", ["missing", "no key", "wrong password"])
def test_a_client_certificate_that_cannot_be_used_is_named(
    authority: Authority, tmp_path: Path, flaw: str
) -> None:
    """The file, what is wrong and which settings there are; never the password."""
    path = tmp_path / "office.pem"
    leaf = authority.ca.issue_cert("office.example")
    if flaw == "no key":
        leaf.cert_chain_pems[0].write_to_path(str(path))
    elif flaw == "wrong password":
        from cryptography.hazmat.primitives import serialization as form

        key = form.load_pem_private_key(leaf.private_key_pem.bytes(), None)
        sealed = key.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"right-password")
        )
        path.write_bytes(sealed + leaf.cert_chain_pems[0].bytes())

    error = failure(
        "https://127.0.0.1:1/", client_certificate=path, client_key_password=Secret("wrong-password")
    )

    assert AuthError is type(error)
    assert f"client_certificate {path} cannot be used" in str(error)
    assert "wrong-password" not in str(error)


# --- tokens ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "words"),
    [("token-wrong", "Renew the token"), ("token-old", "the token has expired. Get a new one")],
)
def test_a_token_that_is_not_right(plain_url: str, token: str, words: str) -> None:
    """Wrong and expired are told apart; the token itself is never shown."""
    error = failure(plain_url, token=Secret(token))

    assert AuthError is type(error)
    assert words in str(error)
    assert token not in str(error)


@pytest.fixture
def issued(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One entry for each token that a centre was asked for."""
    asked: list[None] = []
    issue = Access.issue

    async def counted(self: Access, request: object) -> object:
        asked.append(None)
        return await issue(self, request)  # type: ignore[arg-type]

    monkeypatch.setattr(Access, "issue", counted)
    return asked


def oauth(url: str, **changed: object) -> OAuthSettings:
    """Return the settings of office b."""
    right = {
        "token_url": f"{url}oauth/token",
        "client_id": "client b",
        "client_secret": Secret("s:e c/ret"),
    }
    return OAuthSettings(**(right | changed))  # type: ignore[arg-type]


def deliver_at_once(backend: HttpBackend, threads: int = 8) -> None:
    """Deliver a packet in each of so many threads."""
    start = threading.Barrier(threads)

    def deliver(_: int) -> str:
        packet = made_up_packet()
        start.wait()
        return backend.deliver(packet).sha256

    with ThreadPoolExecutor(threads) as pool:
        assert threads == len(list(pool.map(deliver, range(threads))))


def test_a_token_is_fetched_once_for_all_threads(settings: CentralSettings, issued: list[None]) -> None:
    """Also when the centre forgets it: whose was refused, waits for the one new token."""
    with running(settings) as url, client(url, oauth=oauth(url)) as backend:
        deliver_at_once(backend)
        assert 1 == len(issued)
        credentials = backend._line._credentials
        assert credentials.replace(credentials.current())  # as if it had been refused
        credentials._token = "revoked"  # type: ignore[union-attr]
        deliver_at_once(backend)

    assert 2 == len(issued)


def test_a_token_is_replaced_before_it_ends(
    settings: CentralSettings, issued: list[None], manual_clock: ManualClock
) -> None:
    """At nine tenths of its life, by a clock that no wall clock disturbs."""
    with running(evolve(settings, token_lifetime=1000)) as url:
        context = BackendContext(name="central", clock=manual_clock)
        with client(url, context, oauth=oauth(url)) as backend:
            for seconds, count in ((0, 1), (899, 1), (2, 2), (0, 2)):
                manual_clock.seconds += seconds
                backend.check()
                assert count == len(issued)


def test_a_token_that_ends_on_the_way_is_replaced_once(settings: CentralSettings, issued: list[None]) -> None:
    """A centre whose tokens end at once is not asked for ever."""
    with running(evolve(settings, token_lifetime=0)) as url:
        error = failure(url, oauth=oauth(url))

    assert AuthError is type(error)
    assert "expired" in str(error)
    assert 2 == len(issued)


@pytest.mark.parametrize(
    "changed", [{"client_id": "another"}, {"client_secret": Secret("wrong-secret")}], ids=["id", "secret"]
)
def test_client_credentials_that_are_not_right(plain_url: str, changed: dict[str, object]) -> None:
    """The destination stops; the secret is never shown."""
    error = failure(plain_url, oauth=oauth(plain_url, **changed))

    assert AuthError is type(error)
    assert "gives no token (invalid_client)" in str(error)
    assert "wrong-secret" not in str(error)


def test_a_token_service_that_is_down(plain_url: str) -> None:
    """It is tried again; the message names the token service's host, not the centre's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure(plain_url, oauth=oauth(plain_url, token_url=f"http://127.0.0.1:{port}/token"))

    assert UnavailableError is type(error)
    assert f"127.0.0.1:{port} refuses connections" in str(error)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            {"token": "a", "oauth": {"token_url": "https://t/", "client_id": "c", "client_secret": "s"}},
            "not both",
        ),
        ({"client_key": "key.pem"}, "need client_certificate"),
        ({"url": "https://user:password@central.example/"}, "no name or password in the address"),
        ({"url": "https://central.example:99999/"}, "expected an address"),
        ({"url": "https://central.example/?office=1"}, "expected an address"),
        ({"oauth": {"token_url": "http://t.example/", "client_id": "c", "client_secret": "s"}}, "in clear"),
        ({"verify": False}, "no such setting"),
    ],
)
def test_settings_that_make_no_sense_are_refused(table: dict[str, object], words: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigError, match=words) as caught:
        read_settings(
            HttpSettings, {"url": "https://central.example/", **table}, where="[destinations.central]"
        )
    assert "user:password" not in str(caught.value)


# --- proxies --------------------------------------------------------------------------------------------------------


@define
class Proxy:
    """A proxy that tunnels (CONNECT), or says what it is told to say.

    Args:
        answer: What it says instead of tunnelling.
    """

    answer: bytes
    heads: list[str] = field(factory=list)
    _listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _threads: list[threading.Thread] = field(factory=list)
    _ends: list[socket.socket] = field(factory=list)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Begin to listen."""
        self._run(self._accept)

    def stop(self) -> None:
        """End all."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._ends):
            end.close()

    def _run(self, target: Callable[..., None], *args: object) -> None:
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._ends.append(connection)
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        self.heads.append(head.decode())
        if self.answer:
            connection.sendall(self.answer)
            connection.shutdown(socket.SHUT_RDWR)
            return
        host, port = head.split()[1].decode().rsplit(":", 1)
        target = socket.create_connection((host, int(port)))
        self._ends.append(target)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        self._run(self._carry, connection, target)
        self._run(self._carry, target, connection)

    @staticmethod
    def _carry(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """A proxy on this machine; the parameter is its answer, the default a working tunnel."""
    proxy = Proxy(getattr(request, "param", b""))
    proxy.start()
    yield proxy
    proxy.stop()


def test_the_proxy_of_the_environment_is_used(
    settings: CentralSettings, authority: Authority, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its name and password, which may hold odd characters; TLS goes through it to the centre."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:pa%40ss@127.0.0.1:{proxy.port}")
    with (
        running(evolve(settings, tls=authority.server("127.0.0.1"))) as url,
        client(url, token=Secret("token-a"), ca_file=authority.file) as backend,
    ):
        backend.check()

    assert proxy.heads[0].startswith("CONNECT 127.0.0.1:")
    assert "proxy-authorization: basic dxnlcjpwyubzcw==" in proxy.heads[0].lower()
    assert "token-a" not in proxy.heads[0]


def test_no_proxy_names_hosts_that_are_asked_directly(
    plain_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As other programs do."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.1")
    with client(plain_url, token=Secret("token-a")) as backend:
        assert backend.check().summary


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
            "wants a name and a password",
        ),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "does not work: .*503"),
    ],
    indirect=["proxy"],
)
def test_a_proxy_that_refuses(proxy: Proxy, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong and where it is set; never its password."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:proxy-password@127.0.0.1:{proxy.port}")
    with (
        client("https://centre.invalid/", token=Secret("token-a")) as backend,
        pytest.raises(UnavailableError, match=words) as caught,
    ):
        backend.check()

    assert "HTTPS_PROXY" in str(caught.value)
    assert "proxy-password" not in str(caught.value)


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1", "http://127.0.0.1:1", "127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of another kind, or one that is down, is not the centre's fault."""
    monkeypatch.setenv("HTTPS_PROXY", address)

    error = failure("https://centre.invalid/")

    assert UnavailableError is type(error)
    assert "proxy" in str(error)
