"""The wire against a peer that sends exactly the bytes a test says, and the signature against the driver's own."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minio.credentials import Credentials
from minio.signer import sign_v4_s3

from reconcile.heads import LOCAL_ONLY, side
from reconcile.model import Misconfigured, ObjectRef, Present, Unknown
from reconcile.signature import EMPTY_SHA256, Server, Signer, path_of, query_of
from reconcile.wire import Broken, Reply, Wire, parse

FOUND = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: x\r\n\r\n"
GONE = b"HTTP/1.1 404 Not Found\r\nX-Minio-Error-Code: NoSuchKey\r\n\r\n"
GET = b"HEAD /a HTTP/1.1\r\n\r\n"


@contextmanager
def peer(*connections, tls=None):
    """Serve one connection after another: each list is sent chunk by chunk, a chunk for each request."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)

    def serve():
        for chunks in connections:
            try:
                plain, _ = listener.accept()
                plain.settimeout(5)
                with tls.wrap_socket(plain, server_side=True) if tls else plain as client:
                    for chunk in chunks:
                        client.recv(65536)
                        client.sendall(chunk)
            except OSError:
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    thread.join(10)
    listener.close()


def ask(port, *requests, connections=1, scheme="http", deadline_s=3.0):
    """Ask once, over as many connections as may be."""
    wire = Wire(Server(f"{scheme}://localhost:{port}", "a", "b", connections=connections, timeout_s=1.0))
    try:
        return wire.ask([(name, GET) for name in requests], deadline_s)
    finally:
        wire.close()


def test_answers_follow_each_other_on_one_connection():
    """A kept connection is asked again."""
    with peer([FOUND, GONE]) as port:
        answers = ask(port, "a", "b")
    assert [answer.status for answer in answers.values()] == [200, 404]


@pytest.mark.parametrize(
    "first",
    [
        FOUND.replace(b"Content", b"Connection: close\r\nContent"),
        FOUND.replace(b"1.1", b"1.0"),
        FOUND + b"<html>a body that a HEAD must not have</html>",
        FOUND + GONE,
    ],
)
def test_a_connection_that_is_not_clean_is_not_kept(first):
    """What follows an answer is never taken for the answer to the next question."""
    with peer([first, GONE], [FOUND]) as port:
        answers = ask(port, "a", "b")
    assert [answer.status for answer in answers.values()] == [200, 200]


def test_what_comes_unasked_between_two_calls_answers_nothing():
    """A connection that spoke while it was idle, as some proxies do before they close it, is not asked again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        wire = Wire(Server(f"http://127.0.0.1:{listener.getsockname()[1]}", "a", "b", connections=1))
        asking = ThreadPoolExecutor(1)
        told = asking.submit(wire.ask, [("a", GET)], 5)
        with listener.accept()[0] as first:
            first.recv(65536)
            first.sendall(FOUND)
            assert told.result()["a"].status == 200
            first.sendall(GONE)
            told = asking.submit(wire.ask, [("b", GET)], 5)
            with listener.accept()[0] as second:
                second.recv(65536)
                second.sendall(FOUND)
                assert told.result()["b"].status == 200
        asking.shutdown()
        wire.close()


def test_an_interim_answer_is_passed_over():
    """1xx is no answer."""
    with peer([b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + GONE]) as port:
        assert ask(port, "a")["a"].status == 404


@pytest.mark.parametrize("nonsense", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"x" * 70000])
def test_what_is_not_http_breaks(nonsense):
    """Nonsense is no answer."""
    with peer([nonsense]) as port:
        assert isinstance(ask(port, "a")["a"], Broken)


def test_an_answer_that_breaks_off_is_none():
    """Half a head proves nothing, and is not asked for twice."""
    with peer([FOUND, GONE[:-2]]) as port:
        answers = ask(port, "a", "b")
    assert answers["a"].status == 200
    assert answers["b"] == Broken("no answer: the connection was cut")


def test_a_kept_connection_that_dies_is_replaced_once():
    """A request on a connection that the server had closed in the meantime is sent anew."""
    with peer([FOUND], [FOUND]) as port:
        assert [answer.status for answer in ask(port, "a", "b").values()] == [200, 200]


@given(st.binary())
def test_parsing_is_total(head):
    """Any bytes are a reply or a ValueError."""
    try:
        reply, _ = parse(b"HTTP/1.1 200 OK\r\n" + head)
    except ValueError:
        return
    assert isinstance(side(reply, ObjectRef("b", "k")), Present | Unknown)


@pytest.mark.invariant(1)
@pytest.mark.parametrize(
    ("status", "headers", "version"),
    [
        (404, {}, ""),
        (404, {"x-minio-error-code": "NoSuchBucket"}, ""),
        (404, {"x-minio-error-code": "NoSuchKey, NoSuchKey"}, ""),
        (404, {"x-amz-delete-marker": "true"}, ""),
        (405, {"x-amz-delete-marker": "true"}, ""),
        (405, {"x-minio-error-code": "MethodNotAllowed"}, "v"),
        (403, {"x-minio-error-code": "NoSuchKey"}, ""),
        (410, {"x-minio-error-code": "NoSuchKey"}, ""),
        (500, {"x-minio-error-code": "NoSuchKey"}, "v"),
        (204, {"etag": "x", "content-length": "0"}, ""),
        (200, {"etag": "x"}, ""),
        (200, {"content-length": "1"}, ""),
        (200, {"etag": "x", "content-length": "-1"}, ""),
    ],
)
def test_what_proves_nothing_is_unknown(status, headers, version):
    """Every near miss of a proof."""
    assert isinstance(side(Reply(status, headers), ObjectRef("b", "k", version)), Unknown)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(st.characters(exclude_categories=["Cs"])))
def test_the_signature_is_the_drivers(key, version):
    """Our signature of a request is the one that the driver makes of it."""
    server = Server("http://localhost:9000", "access", "secret", "eu-1")
    path, query = path_of("bucket", key), query_of([("versionId", version)])
    at = datetime.now(UTC)  # noqa: TID251
    ours = Signer(server).headers("HEAD", path, query, at.timetuple(), LOCAL_ONLY)
    theirs = sign_v4_s3(
        method="HEAD",
        url=urlsplit(f"http://localhost:9000{path}?{query}"),
        region="eu-1",
        headers={name: value for name, value in ours.items() if name != "authorization"},
        credentials=Credentials("access", "secret"),
        content_sha256=EMPTY_SHA256,
        date=at,
    )
    assert ours["authorization"] == theirs["Authorization"]


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("http://minio", "minio"),
        ("http://minio:80", "minio"),
        ("http://minio:9000/", "minio:9000"),
        ("https://minio:443", "minio"),
        ("https://[::1]:9000", "[::1]:9000"),
    ],
)
def test_the_host_is_sent_as_clients_send_it(endpoint, host):
    """The default port is not named."""
    assert Server(endpoint, "a", "b").host == host


@pytest.mark.parametrize(
    "endpoint", ["minio:9000", "ftp://minio", "http://", "http://minio/path", "http://minio:x", "http://me:hush@minio"]
)
def test_an_endpoint_that_is_none_is_a_fault_of_configuration(endpoint):
    """The fault names the value and the form, and no password."""
    with pytest.raises(Misconfigured, match="http://HOST") as fault:
        Wire(Server(endpoint, "a", "b"))
    assert "hush" not in str(fault.value)


def test_a_secret_is_never_shown():
    """The server's own text leaves the secret out."""
    assert "hush" not in repr(Server("http://minio", "a", "hush"))


@pytest.fixture
def certificate(tmp_path):
    """Make a certificate for localhost."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    where = ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert]
    subprocess.run([*command.split(), *where], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    return context, cert


def test_tls_is_spoken_and_certificates_are_believed_only_where_known(certificate, monkeypatch):
    """An unknown certificate is no connection; one that the environment names is."""
    context, cert = certificate
    with peer([FOUND], tls=context) as port:
        assert "certificate" in ask(port, "a", scheme="https")["a"].reason
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    with peer([FOUND, GONE], tls=context) as port:
        answers = ask(port, "a", "b", scheme="https")
    assert [answer.status for answer in answers.values()] == [200, 404]


def test_a_handshake_that_does_not_come_ends_at_the_deadline():
    """A peer that accepts and keeps still holds nobody."""
    with socket.create_server(("127.0.0.1", 0)) as still:
        started = time.monotonic()
        answers = ask(still.getsockname()[1], "a", "b", scheme="https", deadline_s=0.3)
        assert time.monotonic() - started < 1.0
    assert set(answers) == {"a"}
