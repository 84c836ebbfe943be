"""The command line in Indonesian: a day at the office, with the troubles that its staff meets."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ktpsync
import ktpsync.language
from command_line import DONE, PERSON, USAGE, WAITING, Answer, every_command, run
from ktpsync import records
from ktpsync.central import CentralSettings, running
from ktpsync.keys import StationPublicKey
from ktpsync.language._translate import LOCALE, messages
from ktpsync.testing import make_enrollment

if TYPE_CHECKING:
    from collections.abc import Iterator

_SENTENCE = re.compile(r"[A-Za-z]{2,} [a-z]{2,}")
"""Two words in a row. Ids, paths, amounts and JSON have none."""


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was shown in English, for want of a translation. The reader wants Indonesian."""
    monkeypatch.setenv("KTPSYNC_LANG", "id")
    missing: list[str] = []
    real = ktpsync.language.translated

    def watched(what: object, language: str) -> str:
        words = real(what, language)
        # A table's heading may be the same word in both languages.
        if str(what) == words and _SENTENCE.search(words):
            missing.append(words)
        return words

    monkeypatch.setattr(ktpsync.language, "translated", watched)
    return missing


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An office with a marked disk, whose folder is the current one."""
    identity = ktpsync.age.generate_identity()
    ktpsync.age.write_identity_file(tmp_path / "recovery.txt", identity)
    ktpsync.age.write_identity_file(tmp_path / "other.txt", ktpsync.age.generate_identity())
    ktpsync.init_disk(tmp_path / "usb-a", label="merah")
    config = ktpsync.init_office(
        tmp_path / "office",
        recipients=[str(identity.recipient)],
        places="[destinations.usb-a]\nbackend = 'disk'\npath = '../usb-a'\n"
        "[backups.usb-a]\nbackend = 'disk'\npath = '../usb-a'\n",
    )
    monkeypatch.chdir(config.parent)
    for seed in range(3):
        records.save_folder(make_enrollment(seed, size=4000), Path(f"captured/{seed}"))
    return config.parent


@pytest.fixture
def centre(office: Path) -> Iterator[str]:
    """A centre that knows the office's station; the office is connected to it only."""
    station = StationPublicKey.from_pem((office / "data/keys/station.pub.pem").read_bytes())
    settings = CentralSettings(
        folder=office.parent / "centre",
        identities=[ktpsync.age.read_identity_file(office.parent / "recovery.txt")],
        tokens={"right": "3578", "expired": "3578"},
        expiries={"expired": datetime(2020, 1, 1, tzinfo=UTC)},
        stations=[station],
    )
    with running(settings) as url:
        connect(office, url)
        yield url


def connect(office: Path, url: str, token: str = "right") -> None:  # noqa: S107 - made up
    """Write the centre into the configuration as the only destination."""
    (office / "ktpsync.toml").write_text(
        "[office]\ndata = 'data'\nrecipients_file = 'recipients.txt'\n"
        f"[destinations.central]\nbackend = 'http'\nurl = '{url}'\ntoken = '{token}'\n"
    )


def said(*arguments: object, typed: str = "") -> str:
    """Run a command and return all that it showed."""
    answer: Answer = run(*arguments, typed=typed)
    return answer.out + answer.err


def test_a_day_without_an_english_sentence(office: Path, untold: list[str]) -> None:
    """Setting up, recording, delivering, backing up, verifying, looking and restoring."""
    assert "Kantor sudah disiapkan." in said("init", "../second", "--recipients-file", "recipients.txt")
    assert "ditandai sebagai diska" in said("disk", "init", "../usb-b")
    said("disk", "list")
    next(Path("captured/1/biometrics").iterdir()).unlink()
    refused = said("submit", "captured")
    assert "memiliki 1 masalah; perbaiki lalu simpan lagi:" in refused
    assert "Berkas yang disebut tidak ada." in refused
    assert "1 dari 3 bermasalah; tidak ada yang direkam" in refused
    assert "tersimpan" in said("submit", "captured", "--skip-bad")
    assert "sudah tersimpan" in said("submit", "captured", "--skip-bad")

    assert "tujuan\tmenunggu\tterkirim\tditolak" in said("status")
    assert "usb-a\t2\t0\t0\t-" in said("sync")
    (packet, *_) = run("packets", "--json").json()["packets"]
    assert "Status pendaftaran: belum diketahui" in said("status", packet["packet_id"])
    assert "\tterkirim\t" in said("packets")
    assert "Tidak ada yang ditolak." in said("rejected")

    backed_up = said("backup", "usb-a")
    assert "2 paket baru dicadangkan, " in backed_up
    assert re.search(r"Mencadangkan: .* kB / .* kB; 2 / 2 paket; ", backed_up)
    assert "Tidak ada yang baru sejak cadangan terakhir." in said("backup", "usb-a")
    assert "1 snapshot, 2 paket, " in (verified := said("verify", "usb-a"))
    assert "dibaca: semuanya baik." in verified
    assert "lengkap" in said("backup", "list", "usb-a")
    assert "pemulihan akan berhasil." in said("backup", "drill", "usb-a", "--identity", "../recovery.txt")
    said("backup", "prune", "usb-a", "--keep-last", "1", "-n")
    said("backup", "prune", "usb-a", "--keep-last", "1")
    assert "Kuncinya berfungsi." in said("keys", "test", "--identity", "../recovery.txt")
    said("keys", "test", "--identity", "../other.txt")
    said("keys", "list")
    assert "2 paket diperiksa, 0 masalah." in said("doctor", "--read")
    said("destination", "list")
    said("destination", "pause", "usb-a", "--who", "ana", "--why", "ganti")
    assert PERSON == run("status").code
    assert "usb-a dihentikan: ganti." in said("status")
    said("resume", "usb-a", "--who", "ana")
    said("config", "check")
    restored = said("restore", "../usb-a", "--into", "../new", "--identity", "../recovery.txt")
    assert "2 paket dipulihkan ke ../new" in restored
    assert [] == untold


def test_troubles_with_disks_and_keys(office: Path, untold: list[str]) -> None:
    """A disk that is away, another one, one that is damaged; a wrong, missing or open key."""
    said("submit", "captured")
    said("backup", "usb-a")
    shutil.move("../usb-a", "../away")
    for command in (("sync",), ("backup", "usb-a"), ("verify", "usb-a")):
        assert WAITING == run(*command).code
        assert "Tidak ada diska bertanda di " in said(*command)
    said("disk", "init", "../usb-a", "--label", "biru")
    wrong = said("backup", "usb-a")
    assert "adalah biru, padahal yang diharapkan merah (" in wrong
    assert "Pasang diska yang benar. Jika diska ini menggantikannya untuk seterusnya" in wrong
    shutil.rmtree("../usb-a")
    shutil.move("../away", "../usb-a")

    opened = said("verify", "usb-a", "--open", "../other.txt")
    assert "bukan milik salah satu penerima cadangan ini sekarang, jadi tidak ada yang dibuka" in opened
    pack = next(Path("../usb-a").rglob("*.tar"))
    pack.write_bytes(pack.read_bytes().replace(b"age-encryption", b"age-encrypt!on"))
    damaged = said("verify", "usb-a")
    assert "masalah, " in damaged
    assert "rusak." in damaged

    other_key = said("restore", "../usb-a", "--into", "../new", "--identity", "../other.txt")
    assert "Tidak ada kunci privat yang dapat membuka snapshot " in other_key
    assert "tidak menyegel apa pun untuk kunci privat ini" in said(
        "keys", "test", "--identity", "../other.txt"
    )
    Path("junk.txt").write_text("not a key\n")
    Path("junk.txt").chmod(0o600)
    assert "junk.txt memiliki baris yang bukan kunci privat." in said(
        "keys", "test", "--identity", "junk.txt"
    )
    assert "sudah berisi kantor" in said(
        "restore", "../usb-a", "--into", ".", "--identity", "../recovery.txt"
    )
    Path("../recovery.txt").chmod(0o644)
    assert "dapat dibaca pengguna lain" in said("keys", "test", "--identity", "../recovery.txt")
    Path("data/keys/station.pem").unlink()
    assert "Berkas kunci " in said("status")
    assert [] == untold


def test_troubles_with_the_centre(office: Path, centre: str, untold: list[str]) -> None:
    """Down, refusing the token, an expired one, not trusted: also as it was stored and is shown later."""
    said("submit", "captured")
    for token, words in (("wrong", "kredensial tidak diterima"), ("expired", "token sudah kedaluwarsa")):
        connect(office, centre, token)
        assert words in said("sync")
        status = said("status")
        assert words in status
        assert " menjawab 401 (" in status
        assert "Setelah itu jalankan `ktpsync resume central --who NAMA_ANDA`." in status
        said("resume", "central", "--who", "ana")
    connect(office, "http://127.0.0.1:9/")
    assert "127.0.0.1:9 menolak sambungan. Pusat sedang mati, atau alamatnya salah." in said("sync")
    assert "tidak terjangkau: central: 127.0.0.1:9 menolak sambungan." in said("status")
    connect(office, "http://pusat.example/")
    assert "seharusnya https: tokennya akan dikirim tanpa enkripsi" in said("sync")
    connect(office, centre)
    assert DONE == run("sync").code
    said("reconcile")
    # What the centre itself says of a problem is in its own language.
    assert [] == [words for words in untold if "The bearer token" not in words]


def test_troubles_with_the_station(office: Path, monkeypatch: pytest.MonkeyPatch, untold: list[str]) -> None:
    """No room, a damaged outbox, a configuration with mistakes or none."""
    with monkeypatch.context() as full:
        full.setattr("ktpsync.outbox._folder_spool.free_bytes", lambda _folder: 100 << 20)
        refused = said("submit", "captured/0")
        assert "Sisa diska antrean 104.9 MB; ini memerlukan " in refused
        assert "dan 209.7 MB darinya dicadangkan. Tidak ada yang disimpan; kosongkan " in refused
        assert "Sisa diska antrean 104.9 MB: kosongkan sebagian ruang" in said("status")
    config = Path("ktpsync.toml")
    text = config.read_text()
    config.write_text(text.replace("recipients_file", "recipient_file") + "[backup.x]\nbackend = 'disk'\n")
    wrong = said("status")
    assert "bermasalah; tidak ada yang dijalankan:" in wrong
    assert "pengaturan ini tidak dikenal; mungkin maksudnya 'recipients_file'" in wrong
    config.write_text("[office")
    assert "bukan TOML" in said("status")
    config.unlink()
    assert "tidak ada. Jalankan `ktpsync init`" in said("status")
    config.write_text(text)
    Path("data/outbox.db").write_bytes(b"not a database" * 1000)
    assert "Basis data antrean rusak" in said("status")
    # The parser's and SQLite's own words stay theirs.
    assert [] == untold


def test_a_disk_is_full_and_disks_take_turns(office: Path, untold: list[str]) -> None:
    """How much room is missing, and for each of several disks why it cannot be used."""
    said("submit", "captured")
    config = Path("ktpsync.toml")
    text = config.read_text()
    config.write_text(text.replace("path = '../usb-a'", "path = '../usb-a'\nreserve = '900 TB'"))
    full = said("backup", "usb-a")
    assert re.search(
        r"usb-a: diska 'merah' di .* penuh: .* kosong, .* diperlukan, dan .* dicadangkan\.", full
    )
    config.write_text(
        f"{text}rotate = 'usb'\n[backups.usb-b]\nbackend = 'disk'\npath = '../usb-b'\nrotate = 'usb'\n"
    )
    shutil.move("../usb-a", "../away")
    lines = said("backup", "usb").splitlines()
    assert "ktpsync: Tidak satu pun cadangan yang bergantian sebagai 'usb' terpasang:" in lines
    assert 2 == sum("Pasang diska yang benar; " in line for line in lines)
    assert [] == untold


def test_a_packet_is_damaged(office: Path, untold: list[str]) -> None:
    """Which one it is, what is left as it was, and from where the good copy came."""
    said("submit", "captured")
    said("backup", "usb-a")
    (damaged, lost, _) = sorted(Path("data").rglob("*.age"))
    for path in (damaged, lost):
        path.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    lost.unlink()
    found = said("doctor", "--read")
    assert f"Isi tersegel paket {damaged.stem} di antrean rusak." in found
    assert f"Isi tersegel paket {lost.stem} tidak ada di antrean." in found
    mended = said("doctor", "--repair", "--read", "--who", "ana")
    assert f"Paket {damaged.stem} rusak: kini sudah diganti dengan salinan yang baik dari usb-a" in mended
    assert f"Paket {lost.stem} hilang: kini sudah diganti dengan salinan yang baik dari usb-a" in mended
    assert [] == untold


def test_the_database_is_newer(office: Path, untold: list[str]) -> None:
    """A program that was put back to an older release changes nothing and says so."""
    assert DONE == run("status").code
    with contextlib.closing(sqlite3.connect("data/outbox.db")) as database, database:
        database.execute("UPDATE ktpsync_version SET version_num = '9999'")
    newer = said("status")
    assert "memakai skema 9999, sedangkan rilis ini hanya mengenal sampai " in newer
    assert "Tidak ada yang diubah; pasang kembali ktpsync yang lebih baru." in newer
    assert [] == untold


def test_mistakes_in_the_settings(office: Path, untold: list[str]) -> None:
    """Each of them is told in Indonesian, of a plugin that ktpsync brings as of the office."""
    config = Path("ktpsync.toml")
    config.write_text(
        "[office]\ndata = 'data'\nrecipient_file = 'recipients.txt'\nreserve = 'much'\n"
        "[destinations.a]\nbackend = 'disc'\n[destinations.b]\nbackend = 'disk'\n"
        "[destinations.c]\nbackend = 's3'\nbucket = 'b'\naccess_key = 'a'\n"
        "[destinations.d]\nbackend = 'http'\nurl = 'ftp://x'\ntoken = {env = 'KTPSYNC_NOT_SET'}\n"
        "[destinations.e]\nbackend = 'http'\nurl = 'https://x/'\ntoken = {file = 'missing'}\nwindow = '9'\n"
        "[backups.f]\nbackend = 'http'\nurl = 'https://x/'\n"
    )
    wrong = said("config", "check")
    for words in (
        "[office] recipient_file: pengaturan ini tidak dikenal; mungkin maksudnya 'recipients_file'",
        "[office] reserve: seharusnya ukuran seperti 500 kB, 64 MiB atau 2 GB",
        "[destinations.a] backend: Tidak ada plugin yang menawarkan backend 'disc'. Mungkin maksudnya 'disk'.",
        "[destinations.b]: diska memerlukan lokasi",
        "[destinations.c]: access_key dan secret_key harus bersama",
        "[destinations.d] token: variabel lingkungan KTPSYNC_NOT_SET belum diatur",
        "/missing tidak dapat dibaca: berkas atau folder tidak ada",
        "[destinations.e] window: '9' bukan jam kirim; tulis seperti 18:00-06:30.",
        '[backups.f] backend: cadangan memerlukan penyimpanan seperti "disk" atau "s3"; \'http\' bukan',
    ):
        assert words in wrong
    assert [] == [words for words in untold if " problems" not in words]


def test_files_that_are_no_records(office: Path, untold: list[str]) -> None:
    """What is not JSON, not CSV, of another version, or not there."""
    Path("bad").mkdir()
    document = Path("bad/enrollment.json")
    for text, words in (
        (
            "{",
            "bad: Data perekaman bukan JSON dalam UTF-8 yang dapat dibaca (baris 1, kolom 2); ekspor lagi.",
        ),
        ("{}", "bad: JSON ini tidak memuat kolom 'schema'; rilis ini membaca ktpsync.enrollment/1."),
        ('{"schema": "x"}', "bad: JSON ini memakai skema lain; rilis ini membaca ktpsync.enrollment/1."),
        (
            '{"schema": "ktpsync.enrollment/99"}',
            "bad: Data perekaman memakai format versi 99; rilis ini membaca",
        ),
    ):
        document.write_text(text)
        assert words in said("submit", "bad")
    for content, words in (
        (b"", "Baris pertama table.csv tidak memuat kolom; tulis nama kolom di sana."),
        (b"reference\n", "table.csv tidak memuat baris di bawah baris pertama."),
        (b"\xff\xfe", "table.csv bukan dalam UTF-8; simpan lagi sebagai 'CSV UTF-8'."),
    ):
        Path("table.csv").write_bytes(content)
        assert words in said("submit", "table.csv")
    assert "ktpsync.toml bukan folder dan bukan berkas CSV." in said("submit", "ktpsync.toml")
    assert [] == untold


def test_the_clock_is_wrong() -> None:
    """A certificate that is not valid yet says so of the clock, whose reading is kept."""
    from ktpsync.backends.http._failures import _tls_sentence

    error = ssl.SSLCertVerificationError()
    error.verify_code = 9
    said = ktpsync.language.translated(_tls_sentence("pusat.example", error), "id")
    assert "sertifikat pusat.example belum berlaku: jam komputer ini menunjukkan 2" in said
    assert "UTC dan kemungkinan salah." in said


def test_a_configuration_names_the_language(office: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all who work with an office, whatever the machine speaks; programs read the same as ever."""
    monkeypatch.delenv("KTPSYNC_LANG")
    monkeypatch.setenv("LC_ALL", "C")
    assert "destination\twaiting" in said("status")
    config = office / "ktpsync.toml"
    config.write_text(config.read_text().replace("[office]\n", '[office]\nlanguage = "id"\n'))
    assert "tujuan\tmenunggu" in said("status")
    assert (
        "This outbox has no packet with such an id."
        == run("status", "x", "--json").json()["error"]["message"]
    )
    config.write_text(config.read_text().replace('"id"', '"xx"'))
    assert "[office] language" in said("config", "check")


def test_questions(office: Path, untold: list[str]) -> None:
    """What is typed is asked for in the reader's language, and what was typed wrong is told."""
    answer = said("keygen", "-o", "../sealed.txt", "--passphrase", typed="betul\nbetul\n")
    assert "Frasa sandi baru untuk ../sealed.txt" in answer
    assert "Ulangi sekali lagi" in answer
    answer = said("keys", "test", "--identity", "../sealed.txt", typed="salah\n")
    assert "Frasa sandi ../sealed.txt" in answer
    assert "Frasa sandi tidak membuka ../sealed.txt; coba lagi." in answer
    assert [] == untold


_FOR_DEVELOPERS = {"central", "new", "demo"}
"""Commands whose options stay English."""


def test_the_help_is_in_indonesian(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every command: what it does, its options and the words around them, also where a line was cut off."""
    monkeypatch.setenv("COLUMNS", "200")
    known = set(messages(LOCALE / "id.po"))
    for path, _ in every_command():
        if _FOR_DEVELOPERS & set(path):
            continue
        monkeypatch.setenv("KTPSYNC_LANG", "en")
        english = run(*path, "--help").out
        monkeypatch.setenv("KTPSYNC_LANG", "id")
        indonesian = run(*path, "--help").out
        assert indonesian.startswith("Pemakaian: main")
        assert "Tampilkan bantuan ini lalu selesai." in indonesian
        told = [" ".join(part.split()) for part in re.split(r"\n\n|  +|\[", english) if " " in part.strip()]
        left = [
            text for text in told if text in indonesian and not text.startswith(("Usage:", "-", "ktpsync "))
        ]
        assert [] == [text for text in left if _SENTENCE.search(text)], path
        assert any(text in known for text in told)


def test_a_wrong_command_line_is_told_in_indonesian(monkeypatch: pytest.MonkeyPatch) -> None:
    """What click says of it, with the way to the help; a group alone shows its help."""
    monkeypatch.setenv("KTPSYNC_LANG", "id")
    for arguments, words in (
        (("statsu",), "Tidak ada perintah 'statsu'."),
        (("requeue",), "'PACKET_ID' belum ditulis."),
        (("requeue", "a", "b", "--who", "ana"), "Pilihan '--why' wajib ditulis."),
        (("submit", "/missing"), "'/missing' tidak ada."),
        (("packets", "--state", "lost"), "'lost' bukan salah satu dari 'pending', "),
        (("verify", "usb", "--list", "--repair-from", "spool"), "--repair-from membaca semuanya;"),
    ):
        answer = run(*arguments)
        assert USAGE == answer.code
        assert (
            f"Coba 'main{'' if arguments == ('statsu',) else f' {arguments[0]}'} --help' untuk bantuan."
            in answer.err
        )
        assert words in answer.err.partition("Kesalahan: ")[2]
    assert "Menampilkan diska yang terpasang" in said("disk")
    assert "Kesalahan" not in said("disk")
