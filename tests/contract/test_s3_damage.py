"""An endpoint that damages what it stores: nothing damaged counts as stored, stays in the way, or costs what is good."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve
from click.testing import CliRunner

import ktpsync
from ktpsync.cli import main
from ktpsync.errors import BackendError, ConflictError, CorruptError, UnavailableError
from ktpsync.plugins import BackendContext, PluginRegistry, packet_key
from ktpsync.testing import made_up_packet, make_enrollment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONTENT = bytes(range(256)) * 100
MIB = 1 << 20


def make(settings: Mapping[str, object]) -> Any:
    """Return an S3 backend through the registry, as an office gets it."""
    given = BackendContext(name="offsite")
    return PluginRegistry.load().make("s3", settings, given, where="[destinations.offsite]", base=Path())


class Liar:
    """A storage that compares no digest, gives no digest as ETag, and damages what it is told to.

    Args:
        line: The line to a real one.
        server: Its settings.
        heeds_conditions: Whether it does.
        new_client: Makes clients that do not go over the line.
        reply: The class of replies.
    """

    def __init__(
        self,
        line: Any,
        server: Mapping[str, object],
        *,
        heeds_conditions: bool,
        new_client: Any,
        reply: Any,
    ) -> None:
        self.heeds_conditions = heeds_conditions
        self.damage: Callable[[bytes], bytes] | None = None
        self.refused: Callable[[Any], bool] = lambda _: False
        self.before: Callable[[Any], None] = lambda _: None
        self.settings = {**server, "endpoint": line.url, "part_size": 5 * MIB}
        self.client = new_client(server)
        self.bucket = server["bucket"]
        self._reply = reply
        self._line = line
        line.fault, line.twist = self._take, self._answer

    def _take(self, asked: Any) -> Any:
        if asked.headers["If-Match"] is not None:
            asked.headers.replace_header("If-Match", asked.headers["If-Match"].replace("opaque-", ""))
        if "probe" not in asked.path:
            self.before(asked)
        if not self.heeds_conditions:
            del asked.headers["If-Match"], asked.headers["If-None-Match"]
        if "probe" in asked.path:
            return asked
        if self.refused(asked):
            return self._reply(503, b"<Error><Code>InternalError</Code></Error>")
        if self.damage is None or asked.method != "PUT":
            return asked
        del asked.headers["Content-MD5"]
        return evolve(asked, body=self.damage(asked.body))

    def _answer(self, asked: Any, answer: Any) -> Any:
        headers = {name: value for name, value in answer.headers.items() if name.lower() != "etag"}
        etag = next((value for name, value in answer.headers.items() if name.lower() == "etag"), None)
        if etag is None or "partNumber" in asked.path:
            return answer
        # No MD5, and yet another one for other bytes.
        return evolve(answer, headers={**headers, "ETag": f'"opaque-{etag.strip(chr(34))}"'})

    @property
    def table(self) -> str:
        """Its settings as the configuration has them."""
        return "".join(
            f"{name} = {value}\n" if isinstance(value, int) else f'{name} = "{value}"\n'
            for name, value in self.settings.items()
        )

    def stored(self, key: str) -> bytes:
        """Return what is really there."""
        body: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body

    def place(self, key: str, content: bytes, noted: str | None = None) -> None:
        """Store something behind the backend's back."""
        metadata = {} if noted is None else {"ktpsync-sha256": noted}
        self.client.put_object(Bucket=self.bucket, Key=key, Body=content, Metadata=metadata)


@pytest.fixture(params=[True, False], ids=["conditions", "none"])
def liar(
    request: pytest.FixtureRequest, make_bucket: Any, new_line: Any, new_client: Any, reply: Any
) -> Liar:
    """One that heeds conditions, and one that does not."""
    moto_server = request.getfixturevalue("moto_server")
    return Liar(
        new_line(moto_server.url),
        make_bucket(moto_server),
        heeds_conditions=request.param,
        new_client=new_client,
        reply=reply,
    )


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda body: body[:-1] + b"?", id="changed"),
        pytest.param(lambda body: body[:100], id="truncated"),
        pytest.param(lambda _: b"", id="emptied"),
        pytest.param(lambda body: body + b"more", id="lengthened"),
    ],
)
def test_what_the_storage_damages_is_told_and_does_not_stay(
    liar: Liar, damage: Callable[[bytes], bytes]
) -> None:
    """Nothing is left under the key, and the next attempt stores the packet."""
    packet = made_up_packet(CONTENT)
    with make(liar.settings) as backend:
        liar.damage = damage
        with pytest.raises(CorruptError, match=f"the storage damaged .*{packet.packet_id}"):
            backend.deliver(packet)
        assert [] == list(backend.list())
        liar.damage = None

        receipt = backend.deliver(packet)

        assert (packet.sha256, packet.size) == (receipt.sha256, receipt.size)
        assert receipt == backend.deliver(packet)
    assert CONTENT == liar.stored(packet_key(packet.packet_id))


@pytest.mark.parametrize("method", ["DELETE", "GET"])
def test_damage_that_stays_is_replaced_by_the_next_attempt(liar: Liar, method: str) -> None:
    """The storage lets nothing be removed, or the line drops before the bytes are read back."""
    packet = made_up_packet(CONTENT)
    key = packet_key(packet.packet_id)
    with make(liar.settings) as backend:
        liar.damage = lambda body: body[:-7]
        liar.refused = lambda asked: asked.method == method
        with pytest.raises(BackendError) as told:
            backend.deliver(packet)
        assert type(told.value) is (CorruptError if method == "DELETE" else UnavailableError)
        assert CONTENT[:-7] == liar.stored(key)

        if method == "DELETE":
            with pytest.raises(CorruptError, match="the storage damaged"):
                backend.deliver(packet)
        liar.damage, liar.refused = None, lambda _: False

        assert packet.sha256 == backend.deliver(packet).sha256
        assert packet.sha256 == backend.deliver(packet).sha256
    assert CONTENT == liar.stored(key)


@pytest.mark.parametrize("noted", [None, hashlib.sha256(b"somebody else's").hexdigest()])
def test_what_is_not_damaged_by_its_own_account_stays(liar: Liar, noted: str | None) -> None:
    """Other bytes under the key may be somebody's good ones."""
    packet = made_up_packet(CONTENT)
    key = packet_key(packet.packet_id)
    liar.place(key, b"somebody else's", noted)
    with make(liar.settings) as backend:
        for damage in (None, lambda body: body[:-7]):
            liar.damage = damage
            with pytest.raises(ConflictError, match="holds other bytes"):
                backend.deliver(packet)

    assert b"somebody else's" == liar.stored(key)


@pytest.mark.parametrize("method", ["HEAD", "DELETE"])
def test_a_good_copy_that_came_meanwhile_is_not_removed(liar: Liar, method: str) -> None:
    """Another worker stored the packet between the look at the damage and its removal."""
    if method == "DELETE" and not liar.heeds_conditions:
        pytest.skip("between the last look and the removal, only a storage that heeds conditions can see it")
    packet = made_up_packet(CONTENT)
    key = packet_key(packet.packet_id)
    seen: list[str] = []

    def interfere(asked: Any) -> None:
        seen.append(asked.method)
        if "GET" in seen and asked.method == method:
            liar.place(key, CONTENT, packet.sha256)

    with make(liar.settings) as backend:
        liar.damage, liar.before = lambda body: body[:-7], interfere
        with pytest.raises(CorruptError, match="the storage damaged"):
            backend.deliver(packet)
        liar.before = lambda _: None

        assert CONTENT == liar.stored(key)
        assert packet.sha256 == backend.deliver(packet).sha256


@pytest.mark.parametrize("liar", [True], indirect=True)
def test_a_good_copy_that_came_meanwhile_is_not_replaced(liar: Liar) -> None:
    """Where the storage heeds conditions, what is sent in the place of damage meets the damage or nothing."""
    packet = made_up_packet(CONTENT)
    key = packet_key(packet.packet_id)
    liar.place(key, b"damaged", packet.sha256)
    puts: list[str] = []

    def interfere(asked: Any) -> None:
        if asked.method == "PUT" and asked.headers["If-Match"]:
            puts.append(asked.path)
            liar.place(key, CONTENT, packet.sha256)

    with make(liar.settings) as backend:
        liar.damage, liar.before = lambda body: body[:-7], interfere
        with pytest.raises(UnavailableError, match="somebody else is changing it"):
            backend.deliver(packet)
        assert packet.sha256 == backend.deliver(packet).sha256

    assert 1 == len(puts)
    assert CONTENT == liar.stored(key)


def test_a_source_that_is_wrong_replaces_nothing(liar: Liar) -> None:
    """A damaged copy may be the last trace of a packet."""
    packet = made_up_packet(CONTENT)
    key = packet_key(packet.packet_id)
    liar.place(key, CONTENT[:-7], packet.sha256)
    wrong = type(packet).from_bytes(packet.packet_id, packet.sha256, CONTENT[:-1] + b"?")
    with make(liar.settings) as backend:
        with pytest.raises(CorruptError, match="nothing was stored"):
            backend.deliver(wrong)
        assert CONTENT[:-7] == liar.stored(key)

        assert packet.sha256 == backend.deliver(packet).sha256
    assert CONTENT == liar.stored(key)


@pytest.mark.slow
@pytest.mark.parametrize("stays", [False, True])
def test_parts_that_the_storage_damages(liar: Liar, *, stays: bool) -> None:
    """A pack of a backup is larger than a part: the same holds, and a wrong source replaces nothing."""
    content = bytes(range(256)) * 25_000
    sha256 = hashlib.sha256(content).hexdigest()

    def put(backend: Any, given: bytes) -> Any:
        return backend.put("packs/a.tar", io.BytesIO(given), size=len(content), sha256=sha256)

    with make(liar.settings) as backend:
        liar.damage = lambda body: body[:-1] + b"?"
        liar.refused = lambda asked: stays and asked.method == "DELETE"
        with pytest.raises(CorruptError, match="the storage damaged"):
            put(backend, content)
        assert (["packs/a.tar"] if stays else []) == [info.key for info in backend.list()]
        liar.damage = None
        with pytest.raises(CorruptError, match="nothing was stored"):
            put(backend, content[:-1] + b"!")
        assert stays == backend.exists("packs/a.tar")

        assert sha256 == put(backend, content).sha256
    assert content == liar.stored("packs/a.tar")


def test_an_etag_that_is_not_what_was_sent_is_no_proof(
    s3_settings: dict[str, object], new_line: Any, reply: Any
) -> None:
    """A storage that compares digests, and then says another one: the bytes are read back before they count."""
    line = new_line(s3_settings["endpoint"])
    with make({**s3_settings, "endpoint": line.url}) as backend:
        backend.check()
        line.twist = lambda asked, answer: (
            reply(answer.status, answer.body, {**answer.headers, "ETag": '"' + "0" * 32 + '"'})
            if asked.method == "PUT"
            else answer
        )
        line.methods()
        packet = made_up_packet(CONTENT)
        assert packet.sha256 == backend.deliver(packet).sha256

    assert "GET" in line.methods()


def test_an_office_whose_storage_damages_a_packet(liar: Liar, tmp_path: Path) -> None:
    """It is told of it, keeps the packet, and a requeue brings it over, though the storage let nothing be removed."""
    recipient = str(ktpsync.age.generate_identity("x25519").recipient)
    config = ktpsync.init_office(
        tmp_path / "office",
        recipients=[recipient],
        places=f'[destinations.offsite]\nbackend = "s3"\n{liar.table}',
    )

    def command(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, [*arguments, "--config", str(config)])
        return done.exit_code, " ".join(done.output.split())

    with ktpsync.Office.open(config) as office:
        packet = office.submit(make_enrollment(1, size=4000))
    liar.damage, liar.refused = lambda body: body[:-7], lambda asked: asked.method == "DELETE"

    code, _ = command("sync")
    _, told = command("rejected")
    assert 0 != code
    assert f"the storage damaged {packet_key(packet.packet_id)}" in told
    assert "the packet is still in the outbox" in told
    liar.damage, liar.refused = None, lambda _: False

    assert 0 == command("requeue", packet.packet_id, "offsite", "--who", "siti", "--why", "mended")[0]
    assert 0 == command("sync")[0]
    assert packet.sha256 == hashlib.sha256(liar.stored(packet_key(packet.packet_id))).hexdigest()


def test_a_backup_whose_storage_damages_a_pack(liar: Liar, tmp_path: Path) -> None:
    """What was damaged and could not be removed is not taken over by the next run as if it had arrived."""
    identity = ktpsync.age.generate_identity("x25519")
    config = ktpsync.init_office(
        tmp_path / "office",
        recipients=[str(identity.recipient)],
        places=f'[backups.offsite]\nbackend = "s3"\n{liar.table}',
    )
    with ktpsync.Office.open(config) as office:
        office.submit(make_enrollment(1, size=4000))
        office.backup("offsite")
        submitted = office.submit(make_enrollment(2, size=4000))
        liar.damage = lambda body: body[:-1] + b"?" if len(body) > submitted.size else body
        liar.refused = lambda asked: asked.method == "DELETE"
        with pytest.raises(CorruptError, match=r"the storage damaged packs/.*\.tar"):
            office.backup("offsite")
        liar.damage, liar.refused = None, lambda _: False

        report = office.backup("offsite")
        verified = office.verify("offsite", identities=[identity])

    assert 1 == report.packets
    assert (True, ()) == (verified.ok, verified.problems)
