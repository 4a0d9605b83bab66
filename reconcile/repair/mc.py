"""The lines of MinIO's own client that would remove orphans, for those who want to run them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from reconcile.repair.orphans import Orphan

HEAD = (
    "# Each was an orphan when it was looked at last, and nothing looks again before these lines remove it.",
    "# storage-reconciler orphans delete does, keeps a copy, and can undo it.",
)


def lines(found: Iterable[Orphan], alias: str) -> Iterator[str]:
    """Yield a script for bash; what has an S3 version is removed for good, that version alone."""
    yield from HEAD
    for one in found:
        version = one.s3_version or one.stored_version
        chosen = f"--version-id {quoted(version)} " if version else ""
        yield f"mc rm {chosen}{quoted(f'{alias}/{one.bucket}/{one.key}')}"


def quoted(word: str) -> str:
    """Quote a word for bash; what a terminal might obey is spelled out."""
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(_spelled(char) for char in word) + "'"


def _spelled(char: str) -> str:
    if char in "'\\":
        return f"\\{char}"
    return char if char.isprintable() else "".join(f"\\x{byte:02x}" for byte in char.encode())
