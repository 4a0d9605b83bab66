"""How a SHA-256 may be written, and what is meant: its lower-case hex. Pure."""

from __future__ import annotations

import base64
import re

_NAMED = re.compile(r"sha-?256[:=]", re.ASCII | re.IGNORECASE)
_HEX = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_BASE64 = re.compile(r"[0-9A-Za-z+/]{43}=?", re.ASCII)
_OF_URLS = str.maketrans("-_", "+/")


def hex_of(written: str) -> str | None:
    """Return a checksum as 64 lower-case hex digits; None where it is none.

    Read are hex and base64 (44 characters as S3 writes it, also with `-_` or without its `=`), either also after
    `sha256:`. S3's checksum of parts (`...=-7`) is none of the content, and so none.
    """
    text = written.strip()
    if named := _NAMED.match(text):
        text = text[named.end() :]
    if _HEX.fullmatch(text):
        return text.lower()
    text = text.translate(_OF_URLS)
    return base64.b64decode(text[:43] + "=").hex() if _BASE64.fullmatch(text) else None
