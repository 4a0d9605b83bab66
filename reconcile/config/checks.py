"""The rules between settings that no single value can break, and those of a value's inside. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from reconcile.config.filters import OURS, BadPattern, expression
from reconcile.config.values import shown
from reconcile.tables.columns import split_name
from reconcile.tables.template import BadTemplate, is_template, parse, reference

if TYPE_CHECKING:
    from reconcile.config.settings import MappingSettings, Settings

ENDPOINT = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[^/:@?#\s]+)(:\d{1,5})?/?")
URLS = ("postgresql://", "postgres://")
LEAST_CANARY = timedelta(seconds=10)
ARN = re.compile(r"arn:minio:sqs:[^:]*:[^:]+:kafka")
DIALECTS = ("minio", "minio-listen")  # a test holds them to those of consumer/stream/events.py
NO_KAFKA = 'kafka: "bootstrap.servers" is needed and has no value; set it under [kafka]'
OURS_TO_SET = ("enable.auto.commit", "enable.auto.offset.store")


def broken(settings: Settings) -> Iterator[str]:
    """Yield every rule that the settings break."""
    yield from _servers(settings)
    yield from _stream(settings)
    yield from _canary(settings)
    yield from _filters(settings)
    yield from _places(settings)
    yield from _status(settings)
    yield from _tables(settings.mapping)
    yield from _bucket(settings.mapping)
    yield from _key(settings.mapping)


def _servers(settings: Settings) -> Iterator[str]:
    url, endpoint = settings.database.url, settings.minio.endpoint
    if url and (why := unfit_url(url)):
        yield f"database.url: {why}"
    if endpoint and not ENDPOINT.fullmatch(endpoint):
        written = "" if "@" in endpoint else f" = {endpoint!r}"  # what is before an @ may be a secret
        yield f"minio.endpoint{written}: must be http://host:port or https://host:port, without a path"


def unfit_url(url: str) -> str:
    """Return why this cannot be where the database is, `''` if it can; in words that tell nothing of it.

    Of a password with an `@` or a `/` in it libpq takes a part for the host, which errors and logs then name.
    """
    whole, is_url = "postgresql://user:password@host:port/database", url.startswith(URLS)
    if not is_url and "=" not in url:
        return f"must be {whole}, or libpq's key=value pairs"
    before, _, after = url.partition("://")[2].partition("?")[0].partition("/")
    if is_url and (before.count("@") > 1 or "@" in after):
        return f"must be {whole}; within user and password write %40 for @, %2F for /, %25 for %"
    try:
        conninfo_to_dict(url)
    except ProgrammingError:
        return f"must be {whole}, with %40 for @, %20 for a space and %25 for %, or libpq's key='value' pairs"
    return ""


def _stream(settings: Settings) -> Iterator[str]:
    stream = settings.stream
    for key in ("dead_letter_topic", "findings_topic"):
        if getattr(stream, key) == stream.topic:
            yield f"stream.{key} = {stream.topic!r}: is the events' topic itself; name another, or leave it out"
    if stream.arn and not ARN.fullmatch(stream.arn):
        yield f"stream.arn = {stream.arn!r}: must be that of MinIO's target, arn:minio:sqs:REGION:NAME:kafka"
    if stream.dialect not in DIALECTS:
        yield (
            f"stream.dialect = {stream.dialect!r}: must be minio, as MinIO's Kafka target writes, or minio-listen,"
            " whose keys are not URL-encoded"
        )
    if settings.kafka and "bootstrap.servers" not in settings.kafka:
        yield NO_KAFKA
    for key in OURS_TO_SET:
        if str(settings.kafka.get(key, "false")).lower() != "false":
            yield f"kafka.{key}: an offset is committed only after what came of its event; remove the key"


def _canary(settings: Settings) -> Iterator[str]:
    interval = settings.canary.interval
    if timedelta(0) < interval < LEAST_CANARY:
        yield f"canary.interval = {shown(interval)}: must be 10s or longer, since events may take 3 s; 0s turns it off"


def _filters(settings: Settings) -> Iterator[str]:
    for name, patterns in (("include", settings.filters.include), ("exclude", settings.filters.exclude)):
        for pattern in patterns:
            try:
                expression(pattern)
            except BadPattern as reason:
                yield f"filters.{name} = {pattern!r}: {reason}"


def _places(settings: Settings) -> Iterator[str]:
    """Yield what makes a copy meet what it is a copy of."""
    trash, backup = settings.trash, settings.backup
    if not trash.bucket and not trash.prefix.startswith(OURS):
        yield (
            f"trash.prefix = {trash.prefix!r}: lies among the watched keys, and every copy would be an orphan; begin it"
            f" with {OURS!r}, or set trash.bucket"
        )
    if trash.bucket and not trash.prefix.startswith(OURS) and trash.bucket in _buckets(settings.mapping):
        yield (
            f"trash.bucket = {trash.bucket!r}: is watched, and every copy would be an orphan; name a bucket of its own,"
            f" or begin trash.prefix with {OURS!r}"
        )
    if not backup.bucket and backup.prefix and not backup.prefix.endswith("/"):
        yield f"backup.prefix = {backup.prefix!r}: must end with '/', or set backup.bucket"


def _buckets(mapping: MappingSettings) -> set[str | None]:
    return {mapping.bucket.name, *mapping.bucket.map.values()}


def _status(settings: Settings) -> Iterator[str]:
    status, mapped = settings.mapping.status, settings.mapping.version.status
    if settings.flagging and not mapped:
        yield "flagging = true: no column is mapped that could carry a flag; set mapping.version.status"
    if not mapped and (status.expects_absence or status.live):
        yield "mapping.status: has words for a status, and no column is mapped; set mapping.version.status"
    if mapped and not status.flag:
        yield "mapping.status.flag: is empty; write the word that marks a version whose object is missing"
    for name, words in (("expects_absence", status.expects_absence), ("live", status.live)):
        if status.flag in words:
            yield f"mapping.status.{name}: holds {status.flag!r}, which is the flag; a status means one thing"
    if status.purged and status.purged not in status.expects_absence:
        yield (
            f"mapping.status.purged = {status.purged!r}: a purged row must expect no object, or it is flagged again;"
            " add the word to mapping.status.expects_absence, or leave it out, and purged rows are deleted"
        )
    for word in set(status.expects_absence) & set(status.live):
        yield f"mapping.status.live: holds {word!r}, as mapping.status.expects_absence does; a status means one thing"


def _tables(mapping: MappingSettings) -> Iterator[str]:
    for side, name in (("version", mapping.version.table), ("file", mapping.file.table)):
        if name and split_name(name) is None:
            yield f"mapping.{side}.table = {name!r}: must be table or schema.table; quote a part with a dot in it"
    if mapping.file.table and not mapping.version.file_id:
        yield "mapping.file.table: is set, and nothing leads to it; set mapping.version.file_id, which names the file"
    if not mapping.file.table and (mapping.file.status or mapping.file.deleted):
        yield "mapping.file: has columns and no table; set mapping.file.table"
    if mapping.file.expects_absence and not mapping.file.status:
        yield "mapping.file.expects_absence: has words for a status, and no column; set mapping.file.status"
    for key, name in (("group", mapping.group), ("owner", mapping.owner), ("bucket.column", mapping.bucket.column)):
        if name and reference(name).table == "file" and not mapping.file.table:
            yield f"mapping.{key} = {name!r}: is of a table that is not mapped; set mapping.file.table"


def _bucket(mapping: MappingSettings) -> Iterator[str]:
    bucket = mapping.bucket
    if mapping.version.table and not bucket.name and not bucket.column:
        yield "mapping.bucket: is needed and has no value; set name, or column, under [mapping.bucket]"
    if bucket.map and not bucket.column:
        yield "mapping.bucket.map: maps the values of no column; set mapping.bucket.column"
    for value, name in bucket.map.items():
        if not name:
            yield f"mapping.bucket.map: {value!r} stands for no bucket; write its name"


def _key(mapping: MappingSettings) -> Iterator[str]:
    key = mapping.version.key
    if not is_template(key):
        return
    try:
        template = parse(key)
    except BadTemplate as reason:
        yield f"mapping.version.key = {key!r}: {reason}"
        return
    if not mapping.file.table and any(part.table == "file" for part in template.parts):
        yield f"mapping.version.key = {key!r}: has a part of a table that is not mapped; set mapping.file.table"
