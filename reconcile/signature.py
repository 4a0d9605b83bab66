"""Names an S3 server and signs requests to it (signature version 4, empty body), since signing dominates a HEAD.

Knows the algorithm only: no socket, no client, no clock. The time of the request comes in.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from reconcile.model import Misconfigured

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Server:
    """An S3 server and how to talk to it; `endpoint` is a URL without a path.

    `connections` is how many HEADs are under way at once for one caller; `timeout_s` is for one answer, `connect_s`
    for one connection, both within the deadline of the call.
    """

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    connections: int = 16
    timeout_s: float = 5.0
    connect_s: float = 2.0

    @property
    def secure(self) -> bool:
        """Whether the server speaks TLS."""
        return self.endpoint.startswith("https://")

    @property
    def host(self) -> str:
        """The host and, unless it is the default one, the port: as sent and as signed."""
        host, port = self.address()
        name = f"[{host}]" if ":" in host else host
        return name if port == (443 if self.secure else 80) else f"{name}:{port}"

    def address(self) -> tuple[str, int]:
        """Return host and port; raises Misconfigured where the URL names none."""
        parts = urlsplit(self.endpoint)
        try:
            port = parts.port or (443 if self.secure else 80)
        except ValueError:
            port = 0
        plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
        if not (port and plain and parts.hostname and parts.scheme in {"http", "https"}):
            shown = self.endpoint.rpartition("@")[2]
            raise Misconfigured(f"endpoint {shown!r}: must be http://HOST[:PORT] or https://HOST[:PORT]")
        return parts.hostname, port


def path_of(bucket: str, key: str = "") -> str:
    """Return the path of a bucket or an object, encoded as it is signed and sent."""
    return f"/{quote(bucket, safe='')}/{quote(key)}" if key else f"/{quote(bucket, safe='')}"


def query_of(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a query string in the order and encoding that is signed and sent."""
    return "&".join(sorted(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs))


class Signer:
    """Signs for one server and one pair of keys; keeps the key of the day."""

    def __init__(self, server: Server) -> None:
        self.host = server.host
        self._access_key = server.access_key
        self._secret = ("AWS4" + server.secret_key).encode()
        self._region = server.region
        self._today = ("", b"")

    def headers(
        self, method: str, path: str, query: str, at: time.struct_time, extra: Mapping[str, str] = NO_HEADERS
    ) -> dict[str, str]:
        """Return all headers to send, signed; `at` is UTC, the names in `extra` are lower-case."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", at)
        headers = {"host": self.host, "x-amz-content-sha256": EMPTY_SHA256, "x-amz-date": stamp, **extra}
        names = sorted(headers)
        listed = ";".join(names)
        lines = "\n".join(f"{name}:{headers[name]}" for name in names)
        request = f"{method}\n{path}\n{query}\n{lines}\n\n{listed}\n{EMPTY_SHA256}"
        scope = f"{stamp[:8]}/{self._region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._key(stamp[:8]), text.encode(), "sha256").hex()
        credential = f"Credential={self._access_key}/{scope}"
        headers["authorization"] = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={listed}, Signature={signature}"
        return headers

    def _key(self, day: str) -> bytes:
        """Return the signing key of a day; one tuple is replaced at once, so threads may share the signer."""
        known, key = self._today
        if known == day:
            return key
        key = self._secret
        for part in (day, self._region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._today = (day, key)
        return key
