"""What only MinIO's operator is told: its configuration; and a bucket's lifecycle. Reads, and changes nothing.

Imports the driver, as objects.py does. A refusal comes out as Misconfigured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from minio.credentials.credentials import Credentials
from minio.crypto import decrypt
from minio.helpers import sha256_hash
from minio.lifecycleconfig import Rule
from minio.signer import sign_v4_s3
from minio.time import to_amz_date, utcnow

from reconcile.model import Misconfigured, Unavailable
from reconcile.store.clients import pool
from reconcile.store.objects import Objects, asking
from reconcile.store.server import Server

CONFIG = "/minio/admin/v3/get-config-kv"
_OK, _SERVER_ERRORS = 200, 500


class Expiry(NamedTuple):
    """A lifecycle rule that removes objects by their age: those below a prefix, `tagged` only some of them."""

    name: str
    prefix: str
    tagged: bool
    noncurrent: bool


def configuration(server: Server, subsystem: str) -> str:
    """Return MinIO's configuration of one subsystem; it may hold secrets, so nothing of it is shown as it is."""
    url = urlsplit(f"{server.root}{CONFIG}?key={subsystem}&subSys=")
    now, content, keys = utcnow(), sha256_hash(None), server.keys()
    signed = sign_v4_s3(
        method="GET",
        url=url,
        region=server.region,
        headers={"host": url.netloc, "x-amz-date": to_amz_date(now), "x-amz-content-sha256": content},
        credentials=Credentials(*keys),
        content_sha256=content,
        date=now,
    )
    connections = pool(server, server.timeout_s, 1)
    headers = {name: str(value) for name, value in signed.items()}
    with asking(f"GET {CONFIG}"):
        answer = connections.request("GET", url.geturl(), headers=headers, preload_content=False)
        try:
            if answer.status >= _SERVER_ERRORS:
                raise Unavailable("minio", f"GET {CONFIG}: HTTP {answer.status}")
            if answer.status != _OK:
                raise Misconfigured(f"GET {CONFIG}: MinIO answers HTTP {answer.status}")
            return decrypt(answer, keys.secret_key).decode()
        finally:
            answer.close()
            connections.clear()


def expiries(store: Objects, bucket: str) -> Iterator[Expiry]:
    """Yield the rules in force by which the bucket's objects end; those of delete markers alone are none."""
    with asking(f"lifecycle of {bucket!r}"):
        found = store.client.get_bucket_lifecycle(bucket_name=bucket)
    for rule in found.rules if found else ():
        current = rule.expiration is not None and (rule.expiration.days or rule.expiration.date) is not None
        if rule.status == "Enabled" and (current or rule.noncurrent_version_expiration is not None):
            prefix, tagged = _narrowed(rule)
            yield Expiry(rule.rule_id or "", prefix, tagged, not current)


def _narrowed(rule: Rule) -> tuple[str, bool]:
    """Return the prefix that a rule is narrowed to, and whether tags narrow it, too."""
    by = rule.rule_filter
    if by is None:
        return "", False
    if by.and_operator is not None:
        return by.and_operator.prefix or "", bool(by.and_operator.tags)
    return by.prefix or "", by.tag is not None
