"""Occupations with the codes that village administration software uses.

Source: ``PekerjaanEnum`` of OpenSID (github.com/OpenSID/OpenSID, ``app/Enums/PekerjaanEnum.php``), 1 to 89. Codes 1 to
88 were compared with a second public list, github.com/rikysetiomulyo/id-ktp-occupations: the numbers agree; three texts
differ in wording (5: PEGAWAI NEGERI SIPIL before the law of 2014; 54 and 62 in spelling). Equality with the ministry's
own register is unverified. That is why an unknown code is kept, with a warning.
"""

from __future__ import annotations

import csv
import functools
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@functools.cache
def occupations() -> Mapping[int, str]:
    """Return code to text of the occupations that come with ktpsync."""
    text = (resources.files("ktpsync.records") / "codes" / "occupations.csv").read_text(encoding="utf-8")
    return {int(row["code"]): row["text"] for row in csv.DictReader(text.splitlines())}
