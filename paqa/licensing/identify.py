"""What a licence's web address or free text amounts to, as an SPDX identifier where there is one."""

from __future__ import annotations

import re

ADDRESS = re.compile(r"creativecommons\.org/(?:licenses|publicdomain)/([a-z+-]+)/(\d\.\d)")
ADDRESSES = {"zero": "CC0", "mark": "PDM", "sampling+": "LicenseRef-CC-Sampling-Plus"}
VERSION = re.compile(
    r"(?:attribution|licen[cs]e|\bcc\b|\bby\b|-sa\b|-nc\b|-nd\b)[^0-9\n]{0,60}?([1-4]\.[05])\b"
)
WORDS = (
    ("NC", r"non-?\s?commercial|by-nc"),
    ("SA", r"share-?\s?alike|by(?:-nc)?-sa"),
    ("ND", r"no-?\s?deriv|by(?:-nc)?-nd"),
)


def spdx(text: str) -> str | None:
    """E.g. "CC-BY-NC-3.0", without the version where none is named; None for no known licence.

    >>> spdx("http://creativecommons.org/publicdomain/zero/1.0/")
    'CC0-1.0'
    """
    plain = text.lower()
    if address := ADDRESS.search(plain):
        name, version = address.groups()
        return f"{ADDRESSES.get(name, f'CC-{name.upper()}')}-{version}"
    if re.search(r"\bcc-?\s?0\b|creative commons (?:0|zero)", plain):
        return "CC0-1.0"
    if re.search(r"public\s+domain", plain):
        return "LicenseRef-Public-Domain"
    if not re.search(r"attribution|\bcc[- ]by\b|creative commons", plain):
        return None
    parts = ["CC-BY", *(name for name, words in WORDS if re.search(words, plain))]
    version = VERSION.search(plain)
    return "-".join([*parts, version[1]] if version else parts)
