"""A TLS endpoint whose certificate names another host, and the CA that signed it: what a client meets after a move."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


def certificate(directory: Path, host: str) -> tuple[Path, Path]:
    """Make a certificate for a host, which is its own CA; return its file and its key's."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    file, key = directory / "server.crt", directory / "server.key"
    made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={host}"]
    made += ["-addext", f"subjectAltName=DNS:{host}", "-keyout", str(key), "-out", str(file)]
    subprocess.run(made, check=True, capture_output=True)
    return file, key


@contextmanager
def foreign(directory: Path, host: str) -> Iterator[tuple[int, Path]]:
    """Shake hands under another host's name until the block ends; lends the port and the CA's file."""
    file, key = certificate(directory, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                plain, _ = listener.accept()
                with suppress(OSError), plain:
                    plain.settimeout(5)
                    context.wrap_socket(plain, server_side=True).close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1]), file
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
