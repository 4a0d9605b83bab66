"""Names an S3 server and says how it is talked to. Knows no client, and opens no connection."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

import certifi

from reconcile.model import Misconfigured


class Keys(NamedTuple):
    """As whom requests are signed."""

    access_key: str
    secret_key: str


@dataclass(frozen=True, slots=True)
class Server:
    """An S3 server and how to talk to it; `endpoint` is a URL without a path.

    `connections` is how many HEADs are under way at once for one caller; `timeout_s` is for one answer, `connect_s`
    for one connection, both within the deadline of the call. `ca_file` is trusted instead of the system's certificates.
    `renewed`, where it is given, tells the keys as they are now.
    """

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    connections: int = 16
    timeout_s: float = 5.0
    connect_s: float = 2.0
    ca_file: str = ""
    renewed: Callable[[], Keys] | None = field(default=None, repr=False, compare=False)

    def keys(self) -> Keys:
        """Return the keys to sign with, to be asked anew for each request."""
        return self.renewed() if self.renewed else Keys(self.access_key, self.secret_key)

    @property
    def secure(self) -> bool:
        """Whether the server speaks TLS."""
        return self.endpoint.startswith("https://")

    @property
    def host(self) -> str:
        """The host and, unless it is the default one, the port; raises Misconfigured where the URL names none."""
        parts = urlsplit(self.endpoint)
        default = 443 if self.secure else 80
        try:
            port = parts.port or default
        except ValueError:
            port = 0
        plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
        if not (port and plain and parts.hostname and parts.scheme in {"http", "https"}):
            shown = self.endpoint.rpartition("@")[2]
            raise Misconfigured(f"endpoint {shown!r}: must be http://HOST[:PORT] or https://HOST[:PORT]")
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return name if port == default else f"{name}:{port}"

    @property
    def root(self) -> str:
        """The URL in one form, to which a path is added; raises Misconfigured."""
        return f"{'https' if self.secure else 'http'}://{self.host}"

    @property
    def trusted(self) -> tuple[str, str | None]:
        """The certificates to trust: a file, and a directory; the environment's or the system's, if none are named."""
        system = ssl.get_default_verify_paths()
        return (self.ca_file, None) if self.ca_file else (system.cafile or certifi.where(), system.capath)

    def tls(self) -> ssl.SSLContext | None:
        """Return what is trusted, None without TLS; raises Misconfigured where the certificates cannot be read."""
        file, directory = self.trusted
        try:
            return ssl.create_default_context(cafile=file, capath=directory) if self.secure else None
        except OSError as error:
            raise Misconfigured(
                f"minio.ca_file = {file!r}: {error}; name a readable file of PEM certificates"
            ) from error
