"""A bucket's listing that somebody brings as a file: what it may look like, and its entries in their order.

Recognised by the first line, gzip by its first bytes; read more than once, so a pipe will not do:
* keys, one a line;
* `mc ls -r --json ALIAS/BUCKET`: one object a line. mc calls an object named `dir/` a folder; its ETag tells it apart;
* `rclone lsjson -R REMOTE:BUCKET`: an array, one object a line, or without the array. Its ModTime is what the uploader
  set, unless `--use-server-modtime` is given, and its Hashes are no ETags;
* CSV with a header that names key (or path, name) and any of size, etag, last_modified;
* S3 Inventory as CSV, whose first fields are bucket, key (URL-encoded), size, and perhaps last modified and ETag.
Keys count from the bucket's root. That a file is cut off is noticed where its form shows it, never in lines of keys.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader
from itertools import chain, islice
from pathlib import Path
from urllib.parse import unquote_plus

import msgspec

from reconcile.model import Misconfigured
from reconcile.sweeps.drift import Entry
from reconcile.sweeps.lookalike import LONGEST_BYTES

_PAGE = 10_000
_LONGEST_LINE = 1 << 20
_SHOWN = 80
_GZIP = b"\x1f\x8b"
_DEEPEST_URL = 4  # slashes in http://HOST/BUCKET/
_COLUMNS = {
    "key": {"key", "path", "name", "objectkey", "keyname"},
    "size": {"size", "sizebytes", "bytes"},
    "etag": {"etag"},
    "modified": {"lastmodified", "lastmodifieddate", "modified", "modtime"},
}
_OF_VERSIONS = {"versionid", "islatest", "isdeletemarker"}
_BROKEN = (ValueError, csv.Error, msgspec.MsgspecError, RecursionError)
_UNREADABLE = (OSError, EOFError, zlib.error)


class _Line(msgspec.Struct):
    """An object as mc (small letters) or rclone (capitals) tells it."""

    key: str = ""
    size: int = -1
    etag: str = ""
    modified: str = msgspec.field(default="", name="lastModified")
    type: str = "file"
    status: str = "success"
    url: str = ""
    version_id: str = msgspec.field(default="", name="versionId")
    total: int | None = msgspec.field(default=None, name="totalObjects")
    rclone_key: str = msgspec.field(default="", name="Path")
    rclone_size: int = msgspec.field(default=-1, name="Size")
    rclone_modified: str = msgspec.field(default="", name="ModTime")
    is_directory: bool = msgspec.field(default=False, name="IsDir")


_LINES = msgspec.json.Decoder(list[_Line])


def from_file(path: Path) -> Iterator[list[Entry]]:
    """Yield pages of some 10 000 entries in the order of the file, which is read as it is asked for.

    Raises Misconfigured where it cannot be read, and at the first line that is no entry.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.peek(len(_GZIP)).startswith(_GZIP)
            entries = _entries(_Lines(gzip.GzipFile(fileobj=raw) if zipped else raw), path)
            while page := list(islice(entries, _PAGE)):
                yield page
    except _UNREADABLE as error:
        raise Misconfigured(f"{path}: cannot be read: {error}; name a whole file of text, perhaps gzipped") from error


class _Lines:
    """The lines of a file, and which was read last."""

    def __init__(self, file: BufferedReader | gzip.GzipFile) -> None:
        self._file = file
        self._last = b""
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(_LONGEST_LINE)
        if not line:
            raise StopIteration
        self._last = line
        self.number += 1
        if len(line) == _LONGEST_LINE:
            raise ValueError("longer than 1 MiB; one object a line, as `jq -c '.[]'` writes them")
        return line.decode()

    def shown(self) -> str:
        """Return the beginning of the last line, as a person can read it."""
        text = self._last[: 4 * _SHOWN].decode(errors="replace").strip()
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _entries(lines: _Lines, path: Path) -> Iterator[Entry]:
    """Yield the entries; raises Misconfigured that names the line."""
    try:
        first = next(lines, "").removeprefix("\ufeff")
        yield from _form(first)(chain([first], lines) if first else iter(()))
    except _BROKEN as error:
        raise Misconfigured(f"{path}: line {lines.number}: {lines.shown()!r}: {error}") from error


def _form(first: str) -> Callable[[Iterator[str]], Iterator[Entry]]:
    """Say how to read a file that begins with this line."""
    if first.lstrip().startswith(("{", "[")):
        return _json
    fields = next(csv.reader([first]), [])
    names = {_plain(name) for name in fields}
    if len(fields) > 1 and _COLUMNS["key"] & names and not any(map(str.isdecimal, fields)):  # with a size it is none
        return _csv
    if first.startswith('"') and len(fields) > 1:
        return _inventory
    return _keys


def _keys(lines: Iterator[str]) -> Iterator[Entry]:
    for line in lines:
        if key := line.removesuffix("\n").removesuffix("\r"):
            yield Entry(_key(key))


def _json(lines: Iterator[str]) -> Iterator[Entry]:
    """Read objects one a line, in an array or not; mc and rclone both write them so."""
    in_array = False
    for line in lines:
        text = line.strip()
        in_array = (in_array or text.startswith("[")) and not text.endswith("]")
        try:
            told = _LINES.decode(f"[{text.removeprefix('[').removesuffix(']').strip(', ')}]")
        except msgspec.MsgspecError as error:
            raise ValueError(f"{error}; one object a line, as mc and rclone write them, or `jq -c '.[]'`") from error
        yield from (entry for one in told if (entry := _told(one)))
    if in_array:
        raise ValueError("the array does not end here, so the file is cut off; write it again")


def _told(line: _Line) -> Entry | None:
    """Return what a line tells of an object; None for a directory and mc's totals."""
    if line.status != "success":
        raise ValueError("mc could not list everything; list again once it can")
    if line.version_id:
        raise ValueError("lists versions; list without --versions")
    if line.url.count("/") > _DEEPEST_URL:
        raise ValueError("lists a directory, and keys count from the bucket; `mc ls -r --json ALIAS/BUCKET`")
    if line.is_directory or (line.type == "folder" and not line.etag) or line.total is not None:
        return None
    size = max(line.size, line.rclone_size)
    modified = line.modified or line.rclone_modified
    return Entry(_key(line.key or line.rclone_key), size if size >= 0 else None, line.etag.strip('"'), modified)


def _csv(lines: Iterator[str]) -> Iterator[Entry]:
    rows = csv.reader(lines, strict=True)
    names = [_plain(name) for name in next(rows)]
    if _OF_VERSIONS & set(names):
        raise ValueError("lists versions; leave only the latest and no delete markers, and these columns out")
    key, size, etag, modified = (_column(names, wanted) for wanted in _COLUMNS.values())
    for row in rows:
        if row:
            whole = [*_whole(row, len(names)), ""]
            yield Entry(_key(whole[key]), _size(whole[size]), whole[etag].strip('"'), whole[modified])


def _inventory(lines: Iterator[str]) -> Iterator[Entry]:
    """Read S3 Inventory's CSV, which has no header."""
    width = 0
    for row in csv.reader(lines, strict=True):
        width = width or len(row)
        _, key, size, modified, etag, *_ = *_whole(row, width), "", "", ""
        if not size.isdecimal():
            raise ValueError("the third field is no size; order the columns bucket, key, size, or add a header")
        yield Entry(_key(unquote_plus(key, errors="strict")), int(size), etag, modified)


def _column(names: list[str], wanted: set[str]) -> int:
    """Return where a column is, -1 if it is not."""
    return next((number for number, name in enumerate(names) if name in wanted), -1)


def _whole(row: list[str], width: int) -> list[str]:
    if len(row) != width:
        raise ValueError(f"has {len(row)} fields, and the first line {width}; quote fields that hold commas")
    return row


def _key(text: str) -> str:
    if not text or "\0" in text or (4 * len(text) > LONGEST_BYTES and len(text.encode()) > LONGEST_BYTES):
        raise ValueError(f"a key is 1 to {LONGEST_BYTES} bytes of UTF-8 without NUL; is this one of the known forms?")
    return text


def _size(text: str) -> int | None:
    if text and not text.isdecimal():
        raise ValueError(f"{text[:_SHOWN]!r} is no size in bytes; write digits only, or nothing")
    return int(text) if text else None


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()
