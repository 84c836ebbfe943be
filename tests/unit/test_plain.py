"""What services say is shown and kept without what tells a person or opens a door."""

from __future__ import annotations

import pytest

from ktpsync.plain import anonymous, plain, reason
from ktpsync.testing import _people

NIK = "3578014405920001"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"NIK {NIK} is known", "NIK [16 digits] is known"),
        ("NIK 3578-0144 0592.0001 is known", "NIK [16 digits] is known"),
        ("nama: Dewi Lestari, ditolak", "nama: ***, ditolak"),
        ("full_name='Dewi Lestari'; refused", "full_name=***; refused"),
        ("the record of DEWI LESTARI is held", "the record of [capitals] is held"),
        ("SRI WAHYUNI, S.PD has one already", "[capitals] has one already"),
        ("born 14-05-1992 or 1992-05-14 in Surabaya", "born [date] or [date] in Surabaya"),
        ("call +62 812-3456-7890 or 0812 3456 7890", "call [phone] or [phone]"),
        ("write to dewi.lestari@example.co.id", "write to [e-mail]"),
        ("see https://siti:pw@centre.example/find?nik=1&name=x for more", "see https://centre.example/find?... for more"),
        ("see https://siti:p@w@centre.example/", "see https://centre.example/"),
        ("with url: /v1/statuses?after=abc (refused)", "with url: /v1/statuses?... (refused)"),
        ("Bearer abc.def is no token", "Bearer *** is no token"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJkZXdpIn0. has expired", "*** has expired"),
        ('{"nama": "Dewi Lestari", "umur": 34}', '{"nama": ***, "umur": 34}'),
        ('{"token": "abc"}', '{"token=***'),
        ("secret_key=hunter2 is wrong", "secret_key=*** is wrong"),
        ("A RAHMAN and M. YUSUF are known", "[capitals] and [capitals] are known"),
        ("DISK FULL AT DEWI LESTARI", "[capitals]"),
        ("client_secret=hunter2 is wrong", "client_secret=*** is wrong"),
        ("one\r\ntwo\x1b[31m\u202ethree\x00", "one two [31m three"),
    ],
)  # fmt: skip
def test_what_a_service_repeats_is_masked(said: str, shown: str) -> None:
    """Numbers, names, addresses, credentials, and whatever would play with the screen."""
    assert shown == anonymous(said)


@pytest.mark.parametrize(
    "said",
    [
        "The packet 01a21309-9f7c-707f-acce-0489d152f294 is not signed by a station that is known.",
        "The packet 01933842-5678-7123-8567-123456789012 is not known.",
        "Packet has SHA-256 90123456789012345678901234567890123456789012345678901234567890af",
        "DISK FULL. ACCESS DENIED, HTTP PUT failed: NO SPACE LEFT ON DEVICE",
        "Packet has SHA-256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "PRINT_READY_RECORD since 2026-05-17T01:00:00Z",
        "The field biodata.full_name is empty; see https://centre.example/rules/12#names",
        "Wait 3600 seconds, until 10:30 or 17.30; 300000 bytes of 67108864",
        "NIK belum terdaftar. Periksa data, lalu kirim lagi!",
    ],
)
def test_what_an_office_needs_stays(said: str) -> None:
    """Packets, digests, moments, statuses, fields, and what is wrong with a machine."""
    assert said == anonymous(said) == plain(said)


@pytest.mark.parametrize("clean", [plain, anonymous, reason])
def test_a_text_is_short_however_long_it_came(clean: object) -> None:
    """A page of a stack trace is no reason; a number at the cut is not half shown."""
    assert callable(clean)
    for long in ("word " * 40_000, "x" * 200_000, "a@" * 100_000, "?a=" * 70_000, "A B " * 50_000):
        assert len(clean(long)) <= 500
    for start in range(1980, 2001):
        assert "35780" not in clean(f"Bearer {'x' * (start - 7)} {NIK}")


def test_an_official_is_named() -> None:
    """What people of the office write about themselves stays, but for numbers of persons."""
    assert "SITI AMINAH, siti@example.id, [16 digits]" == plain(f"SITI AMINAH,\nsiti@example.id, {NIK}")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Foto terlalu gelap untuk Dewi Lestari.", "Foto terlalu gelap untuk [...]."),
        ("already held for Budi", "already held for [...]"),
        ("sudah ada atas nama siti aminah, Surabaya", "sudah ada atas nama [...]"),
        (f"NIK {NIK} or 3578 0144 0592.0001 is known", "NIK [...] or [...] is known"),
        ("born 14-05-1992, 14051992, 14 Mei 1992", "[...], 14 [...]"),
        ("call 0812 3456 7890 or +62 812-3456-7890", "[...] or [...]"),
        ("DEWI_LESTARI, dewi.lestari@example.id", "[...].id"),
        ("passport B1234567, DewiLestari", "[...]"),
        ("see https://siti:pw@centre.example/find?nik=1&name=x", "see https://[...]@centre.[...]/find?nik=1&name=[...]"),
        ("[Dewi] D.e.w.i D3w1 Su\u0301ti \u0414\u0435\u0432\u0438", "[[...]"),
        ("Budi's photo", "[...] photo"),
        ("token eyJhbGciOiJub25lIn0.eyJzdWIiOiJkZXdpIn0.", "token [...]."),
        ("one\r\nof\x1b[31m\u202ethree\x00", "one of [[...]"),
    ],
)  # fmt: skip
def test_of_a_services_own_words_only_the_known_stay(said: str, shown: str) -> None:
    """A name can be any word, so it is not looked for."""
    assert shown == reason(said)


@pytest.mark.parametrize(
    "said",
    [
        "photo too dark",
        "Foto terlalu gelap atau buram; ulangi perekaman wajah.",
        "PHOTO_TOO_DARK (E1234): the face is not centred",
        "Sidik jari kanan tidak terbaca, kualitas kurang dari 40.",
        "Tanda tangan tidak ada. Periksa data, lalu kirim lagi!",
        "NIK belum terdaftar. Periksa data, lalu kirim lagi!",
        "The field biodata.full_name is empty",
        "The packet 01a21309-9f7c-707f-acce-0489d152f294 is not signed by a station that is known.",
        "Packet has SHA-256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "PRINT_READY_RECORD since 2026-05-17T01:00:00Z",
        "De-duplication is down. Keep recording; send later.",
        "The specified bucket does not exist",
        "The packet does not open at the centre: UnknownStationError",
        "The station that signed the packet is not trusted at the centre: its key data/keys/station.pub.pem was not given to it",
        "invalid_client, unauthorized_client, invalid_scope",
        "Wait 3600 seconds, until 10:30 or 17.30",
    ],
)
def test_why_a_packet_came_back_is_understood(said: str) -> None:
    """What a clerk can do something about, in both languages, and codes."""
    assert said == reason(said)


def test_no_name_of_a_person_is_a_known_word() -> None:
    """Each of the names that made-up people have is masked, however it is written."""
    lists = [*_people.GIVEN.values(), _people.LAST, *_people.LAST_BY_PROVINCE.values()]
    names = {name for one in lists for name in one}

    assert len(names) > 200
    written = [form for name in sorted(names) for form in (name, name.title(), name.lower())]
    assert [] == [name for name in written if "[...]" not in reason(f"held for {name}")]
