"""What an endpoint does is found out by trying, and is all that is believed."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from ktpsync.clock import SystemClock
from ktpsync.errors import AuthError, ConfigError, ConflictError, CorruptError, UnavailableError
from ktpsync.plugins import BackendContext, PluginRegistry
from ktpsync.testing import made_up_packet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MIB = 1 << 20


def make(settings: Mapping[str, object], state: Path | None = None, **context: Any) -> Any:
    """Return an S3 backend through the registry, as an office gets it."""
    given = BackendContext(name="offsite", state_folder=state, **context)
    return PluginRegistry.load().make("s3", settings, given, where="[destinations.offsite]", base=Path())


def put(backend: Any, key: str, content: bytes) -> Any:
    """Store bytes under a key."""
    return backend.put(
        key, io.BytesIO(content), size=len(content), sha256=hashlib.sha256(content).hexdigest()
    )


@pytest.fixture
def line(s3_settings: dict[str, object], new_line: Callable[[object], Any]) -> Any:
    """The line to each of the servers."""
    return new_line(s3_settings["endpoint"])


@pytest.fixture
def over_line(s3_settings: dict[str, object], line: Any) -> dict[str, object]:
    """The settings of a bucket behind the line."""
    return {**s3_settings, "endpoint": line.url}


def is_moto(settings: Mapping[str, object], request: pytest.FixtureRequest) -> bool:
    """Tell which server it is."""
    return bool(settings["endpoint"] == request.getfixturevalue("moto_server").url)


# --- found out, remembered, believed ---


def test_check_shows_what_the_endpoint_does(
    s3_settings: dict[str, object], request: pytest.FixtureRequest
) -> None:
    """What was seen at these servers, without a look at what they call themselves."""
    with make(s3_settings) as backend:
        details = backend.check().details

    moto = is_moto(s3_settings, request)
    assert {
        "endpoint": s3_settings["endpoint"],
        "conditional_put": "yes" if moto else "no",
        "checks_sha256": "no",
        "checks_md5": "no" if moto else "yes",
        "etag_is_md5": "yes",
    } == details


def test_plugins_check_shows_it(s3_settings: dict[str, object], tmp_path: Path) -> None:
    """At the command line, for the person who sets up the destination."""
    from click.testing import CliRunner

    from ktpsync.cli import main

    table = "".join(f'{name} = "{value}"\n' for name, value in s3_settings.items())
    config = tmp_path / "ktpsync.toml"
    config.write_text(f'[office]\ndata = "data"\n[destinations.offsite]\nbackend = "s3"\n{table}')

    shown = CliRunner().invoke(main, ["plugins", "--check", "offsite", "--config", str(config)])

    assert 0 == shown.exit_code, shown.output
    for name in ("conditional_put", "checks_sha256", "checks_md5", "etag_is_md5"):
        assert name in shown.stdout
    assert str(s3_settings["secret_key"]) not in shown.output


def test_a_packet_costs_one_request_where_that_is_proof(
    over_line: dict[str, object], s3_settings: dict[str, object], line: Any, request: pytest.FixtureRequest
) -> None:
    """Elsewhere a look whether it is there comes first; the second time too, the receipt is the same."""
    with make(over_line) as backend:
        backend.check()
        line.methods()
        receipt = backend.deliver(made_up_packet(b"first"))
        first = line.methods()
        assert receipt.size == 5
        packet = made_up_packet(b"second")
        assert backend.deliver(packet) == backend.deliver(packet)
        both = line.methods()

    if is_moto(s3_settings, request):
        assert (["PUT"], ["PUT", "PUT", "HEAD"]) == (first, both)
    else:
        assert (["HEAD", "PUT"], ["HEAD", "PUT", "HEAD"]) == (first, both)


def test_what_was_found_is_remembered_for_a_week(
    over_line: dict[str, object], line: Any, tmp_path: Path
) -> None:
    """Over restarts; then, and where the note is damaged, it is found out again."""
    clock = SystemClock()
    probes = []
    for days, damage in ((0, False), (6, False), (8, False), (8, True)):

        class Later(SystemClock):
            def now_ms(self, days: int = days) -> int:
                return clock.now_ms() + days * 86_400_000

        if damage:
            (tmp_path / "s3-endpoint.json").write_bytes(b"\0")
        with make(over_line, tmp_path, clock=Later()) as backend:
            backend.check()
        probes.append(line.methods().count("PUT") > 0)

    assert [True, False, True, True] == probes
    with make({**over_line, "prefix": "other/"}, tmp_path) as backend:
        backend.check()
    assert line.methods().count("PUT") > 0


def test_an_endpoint_that_checks_sha256_needs_no_md5(
    over_line: dict[str, object], line: Any, reply: Any
) -> None:
    """As AWS does: wrong bytes are refused, so that an accepted put is proof."""

    def check(request: Any) -> Any:
        announced = request.headers.get("x-amz-checksum-sha256")
        right = base64.b64encode(hashlib.sha256(request.body).digest()).decode()
        if announced in (None, right):
            return None
        return reply(400, b"<Error><Code>BadDigest</Code></Error>", {"Content-Type": "application/xml"})

    line.fault = check
    with make(over_line) as backend:
        assert "yes" == backend.check().details["checks_sha256"]
        line.methods()
        packet = made_up_packet(b"x" * 1000)
        backend.deliver(packet)

    stored = [request for request in line.requests if request.method == "PUT"]
    assert [base64.b64encode(bytes.fromhex(packet.sha256)).decode()] == [
        request.headers["x-amz-checksum-sha256"] for request in stored
    ]
    assert [None] == [request.headers["Content-MD5"] for request in stored]


def test_an_endpoint_that_proves_nothing_is_read_back(
    over_line: dict[str, object], line: Any, reply: Any
) -> None:
    """Its ETag is no digest and it refuses nothing: the bytes come back over the line before they count as stored."""

    def forget(asked: Any, answer: Any) -> Any:
        status, body = (200, b"") if answer.status == 400 else (answer.status, answer.body)
        headers = {**answer.headers, "ETag": '"opaque"'}
        headers.pop("etag", None)
        if not body:
            headers["Content-Length"] = headers.get("Content-Length", "0") if asked.method == "HEAD" else "0"
        return reply(status, body, headers)

    line.twist = forget
    with make(over_line) as backend:
        details = backend.check().details
        line.methods()
        packet = made_up_packet(b"x" * 1000)
        assert packet.sha256 == backend.deliver(packet).sha256
        assert 1 == line.methods().count("GET")
        with pytest.raises(ConflictError):
            backend.deliver(type(packet).from_bytes(packet.packet_id, made_up_packet(b"y").sha256, b"y"))

    assert ("no", "no", "no") == (details["checks_sha256"], details["checks_md5"], details["etag_is_md5"])


def test_damage_on_the_way_is_noticed(
    over_line: dict[str, object], s3_settings: dict[str, object], line: Any, request: pytest.FixtureRequest
) -> None:
    """Where the storage refuses damaged bytes they are sent again; elsewhere nothing damaged counts as stored."""
    packet = made_up_packet(b"right bytes")
    with make(over_line) as backend:
        backend.check()
        line.fault = lambda asked: (
            evolve(asked, body=b"wrong bytes") if asked.body == b"right bytes" else None
        )
        if is_moto(s3_settings, request):
            with pytest.raises(CorruptError, match=f"the storage damaged .*{packet.packet_id}"):
                backend.deliver(packet)
        else:
            with pytest.raises(UnavailableError, match="did not arrive as they were sent"):
                backend.deliver(packet)
            assert [] == list(backend.list())
            line.fault = lambda _: None
            assert packet.sha256 == backend.deliver(packet).sha256


@pytest.mark.slow
def test_an_endpoint_that_knows_no_new_checksums(over_line: dict[str, object], line: Any, reply: Any) -> None:
    """Older services answer boto3's own checksums and trailers with an error; they are not sent."""

    def refuse(asked: Any) -> Any:
        news = [
            name.lower()
            for name in asked.headers
            if name.lower().startswith(("x-amz-checksum", "x-amz-trailer"))
        ]
        encoded = "aws-chunked" in asked.headers.get("Content-Encoding", "")
        if news or encoded or "x-amz-sdk-checksum-algorithm" in asked.headers:
            return reply(501, b"<Error><Code>NotImplemented</Code></Error>")
        return None

    line.fault = refuse
    with make({**over_line, "part_size": 5 * MIB}) as backend:
        for content in (b"small", b"large" * 2 * MIB):
            packet = made_up_packet(content)
            assert packet.sha256 == backend.deliver(packet).sha256
            with backend.open(f"packets/{packet.packet_id[-2:]}/{packet.packet_id}.age") as file:
                assert content == file.read()
        assert "no" == backend.check().details["checks_sha256"]


# --- parts ---


@pytest.mark.slow
def test_an_interrupted_upload_goes_on_with_the_missing_parts(
    over_line: dict[str, object], line: Any, reply: Any
) -> None:
    """The line drops at the second part; nothing is visible; then only what is missing is sent."""
    packet = made_up_packet(bytes(range(256)) * 50_000)
    settings = {**over_line, "part_size": 5 * MIB}
    with make(settings) as backend:
        backend.check()
        line.fault = lambda asked: reply(None) if "partNumber=2" in asked.path else None
        with pytest.raises(UnavailableError, match="broke off"):
            backend.deliver(packet)
        assert [] == list(backend.list())
        line.fault = lambda _: None
        line.methods()

    with make(settings) as backend:
        receipt = backend.deliver(packet)
        sent = [
            asked.path.partition("partNumber=")[2][:1]
            for asked in line.requests
            if "partNumber=" in asked.path
        ]
        with backend.open(receipt.location) as file:
            assert packet.sha256 == hashlib.sha256(file.read()).hexdigest()

    assert ["2", "3"] == sent
    assert packet.sha256 == receipt.sha256


@pytest.mark.slow
def test_wrong_bytes_in_parts_leave_nothing(s3_settings: dict[str, object], new_client: Any) -> None:
    """Neither an object nor an upload that costs room unseen."""
    packet = made_up_packet(b"right" * 2 * MIB)
    damaged = type(packet).from_bytes(packet.packet_id, packet.sha256, b"wrong" * 2 * MIB)
    with make({**s3_settings, "part_size": 5 * MIB}) as backend:
        with pytest.raises(CorruptError, match=packet.packet_id):
            backend.deliver(damaged)
        assert [] == list(backend.list())

    assert [] == new_client(s3_settings).list_multipart_uploads(Bucket=s3_settings["bucket"]).get(
        "Uploads", []
    )


@pytest.mark.slow
def test_uploads_that_nobody_finished_are_given_up(s3_settings: dict[str, object], new_client: Any) -> None:
    """After a week; under our prefix only."""
    client, bucket = new_client(s3_settings), s3_settings["bucket"]
    for key in ("ours/left", "theirs/left"):
        client.create_multipart_upload(Bucket=bucket, Key=key)

    class Later(SystemClock):
        def now_ms(self) -> int:
            return super().now_ms() + 8 * 86_400_000

    with make({**s3_settings, "prefix": "ours/", "part_size": 5 * MIB}, clock=Later()) as backend:
        put(backend, "large", b"x" * 6 * MIB)

    left = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert ["theirs/left"] == [upload["Key"] for upload in left]


@pytest.mark.slow
@pytest.mark.parametrize("s3_settings", ["rclone"], indirect=True)
def test_any_size_takes_the_same_memory(s3_settings: dict[str, object]) -> None:
    """An object of 48 MiB is sent and read with a few parts' worth of memory."""
    block, count = bytes(range(256)) * 4096, 48
    sha256 = hashlib.sha256(block * count).hexdigest()

    class Blocks(io.RawIOBase):
        left = count

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:
            if not self.left:
                return 0
            self.left -= 1
            buffer[: len(block)] = block
            return len(block)

    with make({**s3_settings, "part_size": 5 * MIB}) as backend:
        backend.check()
        tracemalloc.start()
        backend.put("large", io.BufferedReader(Blocks(), MIB), size=count * MIB, sha256=sha256)
        _, sending = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        digest = hashlib.sha256()
        with backend.open("large") as file:
            while data := file.read(MIB):
                digest.update(data)
        _, reading = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert sha256 == digest.hexdigest()
    assert sending < 20 * MIB
    assert reading < 8 * MIB


# --- addressing, certificates, locks, encryption ---


@pytest.mark.parametrize("s3_settings", ["moto"], indirect=True)
def test_virtual_addressing(
    s3_settings: dict[str, object], line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket is in the host name, as AWS wants it."""
    import socket

    real = socket.getaddrinfo
    monkeypatch.setattr(
        "socket.getaddrinfo",
        lambda host, *rest, **more: real(
            "127.0.0.1" if str(host).endswith("localhost") else host, *rest, **more
        ),
    )
    endpoint = line.url.replace("127.0.0.1", "localhost")
    with make({**s3_settings, "endpoint": endpoint, "addressing": "virtual"}) as backend:
        put(backend, "a", b"content")
        with backend.open("a") as file:
            assert b"content" == file.read()

    hosts = {asked.headers["Host"].partition(":")[0] for asked in line.requests}
    assert {f"{s3_settings['bucket']}.localhost"} == hosts


def test_a_certificate_authority_of_ones_own(tls_server: Any, make_bucket: Any) -> None:
    """With ca_file the storage is trusted; without, nothing is sent, and the message says what to look at."""
    server, authority = tls_server
    settings = make_bucket(server, ca_file=str(authority))
    with make({**settings, "ca_file": str(authority)}) as backend:
        packet = made_up_packet()
        assert packet.sha256 == backend.deliver(packet).sha256
    with (
        make(settings) as backend,
        pytest.raises(UnavailableError, match=r"certificate is not trusted.*ca_file"),
    ):
        backend.deliver(packet)
    with (
        make({**settings, "ca_file": str(authority.with_name("gone"))}) as backend,
        pytest.raises(AuthError, match=r"ca_file names .*gone, which is not there"),
    ):
        backend.deliver(packet)


def test_locked_objects_cannot_be_deleted(moto_server: Any, make_bucket: Any, new_client: Any) -> None:
    """Until the time is over, not even with the office's own credentials."""
    import botocore.exceptions

    settings = make_bucket(moto_server, bucket_options={"ObjectLockEnabledForBucket": True})
    with make({**settings, "lock": "30d", "lock_mode": "compliance"}) as backend:
        put(backend, "a", b"content")
    client, place = new_client(settings), {"Bucket": settings["bucket"], "Key": "a"}
    answer = client.head_object(**place)

    assert "COMPLIANCE" == answer["ObjectLockMode"]
    left = answer["ObjectLockRetainUntilDate"] - datetime.now(UTC)
    assert timedelta(days=29) < left < timedelta(days=31)
    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        client.delete_object(**place, VersionId=answer["VersionId"])


@pytest.mark.slow
def test_parts_are_locked_as_well(moto_server: Any, make_bucket: Any, new_line: Any) -> None:
    """An object sent in parts asks for the same lock when it is begun (moto itself forgets it)."""
    line = new_line(moto_server.url)
    settings = make_bucket(moto_server, bucket_options={"ObjectLockEnabledForBucket": True})
    with make({**settings, "endpoint": line.url, "lock": "30d", "part_size": 5 * MIB}) as backend:
        put(backend, "a", b"large" * 2 * MIB)

    (begun,) = [
        asked for asked in line.requests if asked.method == "POST" and asked.path.endswith("?uploads")
    ]
    assert "GOVERNANCE" == begun.headers["x-amz-object-lock-mode"]
    until = datetime.fromisoformat(begun.headers["x-amz-object-lock-retain-until-date"])
    assert timedelta(days=29) < until - datetime.now(UTC) < timedelta(days=31)


def test_a_bucket_without_object_lock_is_told(moto_server: Any, make_bucket: Any) -> None:
    """Before anything is stored that somebody could delete."""
    with make({**make_bucket(moto_server), "lock": "30d"}) as backend:
        with pytest.raises(AuthError, match="needs a bucket that was made with object lock"):
            backend.deliver(made_up_packet())
        assert [] == list(backend.list())


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"small", id="whole"),
        pytest.param(b"large" * 2 * MIB, id="parts", marks=pytest.mark.slow),
    ],
)
def test_encryption_at_rest_is_asked_for(
    moto_server: Any, make_bucket: Any, new_client: Any, new_line: Any, content: bytes
) -> None:
    """The service notes that it encrypts, and with which key."""
    settings = make_bucket(moto_server)
    line = new_line(moto_server.url)
    sealed = {
        **settings,
        "endpoint": line.url,
        "encryption": "aws:kms",
        "kms_key": "key-1",
        "part_size": 5 * MIB,
    }
    with make(sealed) as backend:
        put(backend, "a", content)

    answer = new_client(settings).head_object(Bucket=settings["bucket"], Key="a")
    begun = [
        asked for asked in line.requests if "partNumber=" not in asked.path and "uploadId=" not in asked.path
    ]
    assert {"aws:kms"} == {
        asked.headers["x-amz-server-side-encryption"] for asked in begun if asked.method in ("PUT", "POST")
    }
    assert ("aws:kms", "key-1") == (answer["ServerSideEncryption"], answer["SSEKMSKeyId"].rpartition("/")[2])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"part_size": "1 MiB"}, "at least 5 MiB"),
        ({"access_key": "a"}, "belong together"),
        ({"kms_key": "k"}, 'encryption = "aws:kms" only'),
        ({"addressing": "host"}, "addressing"),
        ({"buckett": "b"}, "perhaps 'bucket'"),
    ],
)
def test_settings_that_cannot_be_are_told(settings: dict[str, object], words: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigError, match=words):
        make({"bucket": "b", **settings})


def test_nothing_of_the_probe_is_listed(s3_settings: dict[str, object], new_client: Any) -> None:
    """It leaves one object of a few bytes, which is no packet."""
    with make({**s3_settings, "prefix": "office/"}) as backend:
        backend.check()
        assert [] == list(backend.list())

    left = new_client(s3_settings).list_objects_v2(Bucket=s3_settings["bucket"])["Contents"]
    assert [("office/.ktpsync-probe", True)] == [(entry["Key"], entry["Size"] < 100) for entry in left]
    assert json.dumps(s3_settings["secret_key"]) not in repr(backend.__dict__)
