"""The forms under which a key may also have been written: what to look for when a row finds no object. Pure.

Knows how uploads and migrations mangle names; must not know which of the forms exist.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

LONGEST_BYTES = 1024  # of a key, in S3 and MinIO
FOLDER_ON_DISK = "__XLDIR__"  # what MinIO makes of a folder key's last slash on disk; it serves the object by either
_SLASHES = re.compile("//+")


def normal_forms(key: str) -> frozenset[str]:
    """Return at most 17 other keys that may mean the same object; none that could not be a key.

    A leading slash more or less, `//` collapsed, URL-decoded or URL-encoded, NFC or NFD; and all of it tidied at once.
    A folder key as it lies on MinIO's disk, too.
    """
    if not _possible(key):
        return frozenset()
    return frozenset(form for form in _forms(key) if form != key and _possible(form))


def _forms(key: str) -> Iterator[str]:
    yield key.removeprefix("/")
    yield f"/{key}"
    yield _SLASHES.sub("/", key)
    yield from (quote(key), quote(key, safe=""), quote_plus(key, safe="/"), quote_plus(key))
    yield from _both(key)
    if key.endswith("/"):
        yield key[:-1] + FOLDER_ON_DISK
    if key.endswith(FOLDER_ON_DISK):
        yield key.removesuffix(FOLDER_ON_DISK) + "/"
    for plain in {_decoded(key, plus=False), _decoded(key, plus=True)}:
        yield plain
        yield from _both(_SLASHES.sub("/", plain).removeprefix("/"))


def _both(key: str) -> tuple[str, str]:
    return unicodedata.normalize("NFC", key), unicodedata.normalize("NFD", key)


def _decoded(key: str, *, plus: bool) -> str:
    """Return the key without its URL-encoding; the key itself where its bytes would be no text."""
    try:
        return unquote_plus(key, errors="strict") if plus else unquote(key, errors="strict")
    except UnicodeDecodeError:
        return key


def _possible(key: str) -> bool:
    """Tell whether a server could hold the key, and a database its text."""
    try:
        return 0 < len(key.encode()) <= LONGEST_BYTES and "\0" not in key
    except UnicodeEncodeError:  # half a surrogate pair
        return False
