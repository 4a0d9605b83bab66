"""What a sweep compares in a story: the objects as LIST tells them, which may be wrong, and the rows."""

from reconcile.model import RowState, Unavailable
from reconcile.sweeps.compare import FLAGGED, NONCURRENT, Blocks, Facts, Lines, escaped
from tests.simulation.servers import Servers, Stored, Tables
from tests.simulation.stepped import BUCKET, Faults
from tests.simulation.storage import Versions


def listing(servers: Servers, facts: Facts, faults: Faults) -> Blocks:
    """Yield the lines of the objects, key by key, as the storage is when each is reached.

    Keys may be hidden, doubled, told behind the others, or as they were once.
    """
    objects, wrong, once = servers.storage.buckets[BUCKET], faults.of_keys, faults.outdated
    last, behind = "", list[Lines]()
    while keys := sorted(key for key in objects.keys() | once.keys() if key > last):
        last = keys[0]
        if servers.storage.down:
            raise Unavailable("minio", "down")
        versions = once.get(last, objects.get(last, []))
        lines = [] if last in wrong["hidden"] else lines_of(last, versions, facts)
        if last in wrong["unordered"]:
            behind.append(lines)
        elif lines:
            yield lines * 2 if last in wrong["doubled"] else lines
    yield from filter(None, behind)


def lines_of(key: str, versions: Versions, facts: Facts) -> Lines:
    """Return the lines of one key."""
    shown = versions if facts.s3_version else versions[-1:]
    latest = versions[-1][0] if versions else ""
    return [
        line_of(key, version, content.size, content.etag, facts, b"" if version == latest else NONCURRENT)
        for version, content in shown
        if content is not None
    ]


def rows_in_order(tables: Tables, facts: Facts) -> Blocks:
    """Yield the lines of the rows that claim an object, as they were when the reading began."""

    def claiming(row: Stored) -> bool:
        return row.bucket == BUCKET and row.row().state != RowState.EXPECTS_ABSENCE

    for row in sorted(filter(claiming, tables.rows.values()), key=lambda row: row.key):
        mark = FLAGGED if row.row().state == RowState.FLAGGED else b""
        yield [line_of(row.key, row.s3_version, row.size, row.etag, facts, mark)]


def line_of(key: str, s3_version: str, size: int | None, etag: str | None, facts: Facts, mark: bytes) -> bytes:
    """Return a line as a sweep compares them."""
    version = escaped(s3_version) if facts.s3_version else b""
    told = escaped(etag or "") if facts.etag else b""
    return b"%b\t%b\t%b\t%b\t%b" % (escaped(key), version, b"" if size is None else b"%d" % size, told, mark)
