"""The transport against a peer that sends exactly the bytes a test says."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from reconcile.model import Misconfigured, Unavailable
from reconcile.store.heads import Broken
from reconcile.store.objects import REMOVALS, Objects
from reconcile.store.server import Server
from reconcile.store.transport import Refused, Transport

FOUND = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: x\r\n\r\n"
GONE = b"HTTP/1.1 404 Not Found\r\nX-Minio-Error-Code: NoSuchKey\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"


@contextmanager
def peer(*connections, tls=None, heard=None):
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
                        asked = client.recv(65536)
                        if heard is not None:
                            heard.append(asked)
                        client.sendall(chunk)
            except OSError:
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    thread.join(10)
    listener.close()


def server_at(port, scheme="http", **changes):
    """Name a server of this machine."""
    return Server(f"{scheme}://localhost:{port}", "a", "b", **{"connections": 1, "timeout_s": 1.0, **changes})


def ask(port, *keys, deadline_s=3.0, **changes):
    """Ask once, over as many connections as may be."""
    with closing(Transport(server_at(port, **changes))) as transport:
        return transport.heads([(key, f"/{key}") for key in keys], deadline_s)


def read(port, silence_s=1.0):
    """Read a whole body."""
    with closing(Transport(server_at(port))) as transport:
        return b"".join(transport.stream("/b", silence_s))


def test_answers_follow_each_other_on_one_connection():
    """A kept connection is asked again."""
    with peer([FOUND, GONE]) as port:
        answers = ask(port, "a", "b")
    assert [answer.status for answer in answers.values()] == [200, 404]


def test_only_the_local_server_is_asked_and_the_request_is_signed():
    """The header that keeps replication away is in each request, and signed with it."""
    heard = []
    with peer([FOUND], heard=heard) as port:
        ask(port, "a", region="eu-1")
    head = heard[0].decode().lower()
    assert head.startswith("head /a http/1.1\r\n")
    assert "\r\nx-minio-source-proxy-request: false\r\n" in head
    assert "x-minio-source-proxy-request" in head.split("signedheaders=")[1].split(",")[0]
    assert "/eu-1/s3/aws4_request" in head


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


@pytest.mark.invariant(1)
@pytest.mark.parametrize("unasked", [GONE, b""])
def test_what_comes_unasked_between_two_calls_answers_nothing(unasked):
    """A connection that spoke while it was idle, as some proxies do before they close it, is not asked again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        transport = Transport(server_at(listener.getsockname()[1]))
        asking = ThreadPoolExecutor(1)
        told = asking.submit(transport.heads, [("a", "/a")], 5)
        with listener.accept()[0] as first:
            first.recv(65536)
            first.sendall(FOUND)
            assert told.result()["a"].status == 200
            first.sendall(unasked) if unasked else first.shutdown(socket.SHUT_WR)
            told = asking.submit(transport.heads, [("b", "/b")], 5)
            with listener.accept()[0] as second:
                second.recv(65536)
                second.sendall(FOUND)
                assert told.result()["b"].status == 200
        asking.shutdown()
        transport.close()


@pytest.mark.invariant(1)
@pytest.mark.parametrize("deadline_s", [0.2, 5.0])
def test_an_answer_that_is_late_answers_nothing_else(deadline_s):
    """Whether the call or the request was out of time, its connection is cut, and the next question has another."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        transport = Transport(server_at(listener.getsockname()[1], timeout_s=0.4))
        why = transport.heads([("a", "/a")], deadline_s)["a"].reason
        assert why == ("late" if deadline_s < 0.4 else "no answer within 0.4 s")
        with ThreadPoolExecutor(1) as asking, listener.accept()[0] as first:
            told = asking.submit(transport.heads, [("b", "/b")], 5)
            with listener.accept()[0] as second:
                first.sendall(GONE)
                second.recv(65536)
                second.sendall(FOUND)
                assert told.result()["b"].status == 200
        transport.close()


def test_an_interim_answer_is_passed_over():
    """1xx is no answer."""
    with peer([b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + GONE]) as port:
        answer = ask(port, "a")["a"]
    assert answer.status == 404
    assert "link" not in answer.headers


@pytest.mark.invariant(1)
def test_a_redirect_is_not_followed():
    """Another server's answer proves nothing."""
    with peer([FOUND]) as there, peer([b"HTTP/1.1 307 Go\r\nLocation: http://localhost:%d/a\r\n\r\n" % there]) as here:
        assert ask(here, "a")["a"].status == 307
        assert ask(there, "a")["a"].status == 200


@pytest.mark.invariant(1)
@pytest.mark.parametrize("name", ["http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_not_asked(name, monkeypatch):
    """Nor does its answer."""
    with peer([GONE]) as proxy, peer([FOUND]) as port:
        monkeypatch.setenv(name, f"http://localhost:{proxy}")
        assert ask(port, "a")["a"].status == 200
        assert ask(proxy, "a")["a"].status == 404


@pytest.mark.parametrize("nonsense", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"x" * 500_000])
def test_what_is_not_http_breaks(nonsense):
    """Nonsense is no answer."""
    with peer([nonsense]) as port:
        assert isinstance(ask(port, "a")["a"], Broken)


def test_an_answer_that_breaks_off_is_none():
    """Half a head proves nothing."""
    with peer([FOUND, GONE[:-2]]) as port:
        answers = ask(port, "a", "b")
    assert answers["a"].status == 200
    assert isinstance(answers["b"], Broken)


def test_a_kept_connection_that_dies_is_replaced():
    """A request on a connection that the server had closed in the meantime is sent anew."""
    with peer([FOUND], [FOUND]) as port:
        assert [answer.status for answer in ask(port, "a", "b").values()] == [200, 200]


def test_a_body_is_given_as_it_comes():
    """A part is not held back until there is more, and silence after it is told from an end."""
    with peer([ENDLESS]) as port, closing(Transport(server_at(port))) as transport:
        chunks = transport.stream("/b", 5.0)
        assert next(chunk for chunk in chunks if chunk) == b"abc"
        with pytest.raises(ConnectionError):
            list(chunks)
    with peer([ENDLESS + b"0\r\n\r\n"]) as port:
        assert read(port) == b"abc"


def test_a_whole_body_leaves_its_connection_to_the_next_question():
    """A page and a HEAD share what is kept."""
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    with peer([page, FOUND]) as port, closing(Transport(server_at(port))) as transport:
        assert b"".join(transport.stream("/b", 5.0)) == b"abc"
        assert transport.heads([("a", "/a")], 5.0)["a"].status == 200


def test_a_body_that_never_comes_is_silence():
    """The connection stands, and nothing comes."""
    with socket.create_server(("127.0.0.1", 0)) as still, pytest.raises(TimeoutError, match=r"0\.3 s"):
        read(still.getsockname()[1], 0.3)


def test_another_answer_than_200_is_refused_with_its_body():
    """The server's own words are passed on."""
    with peer([b"HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nwhy"]) as port, pytest.raises(Refused) as refused:
        read(port)
    assert (refused.value.status, refused.value.body) == (403, b"why")


def test_a_listen_stream_that_ends_is_unavailable():
    """A server that goes down in good order takes the stream with it."""
    end = ENDLESS + b"0\r\n\r\n"
    with peer([end]) as port, Objects(server_at(port)) as objects, pytest.raises(Unavailable, match="ended"):
        list(objects.listen("bucket", REMOVALS, lambda: False))


def test_closing_breaks_a_stream_and_not_its_document():
    """What is closed early is no whole document."""
    with peer([ENDLESS]) as port:
        transport = Transport(server_at(port))
        chunks = transport.stream("/b", 5.0)
        next(chunks)
        transport.close()
        with pytest.raises(ConnectionError, match="closed"):
            list(chunks)


@pytest.mark.parametrize(
    ("endpoint", "root"),
    [
        ("http://minio", "http://minio"),
        ("http://minio:80", "http://minio"),
        ("http://minio:9000/", "http://minio:9000"),
        ("https://minio:443", "https://minio"),
        ("https://[::1]:9000", "https://[::1]:9000"),
    ],
)
def test_the_host_is_sent_as_clients_send_it(endpoint, root):
    """The default port is not named."""
    assert Server(endpoint, "a", "b").root == root


@pytest.mark.parametrize(
    "endpoint", ["minio:9000", "ftp://minio", "http://", "http://minio/path", "http://minio:x", "http://me:hush@minio"]
)
def test_an_endpoint_that_is_none_is_a_fault_of_configuration(endpoint):
    """The fault names the value and the form, and no password."""
    with pytest.raises(Misconfigured, match="http://HOST") as fault:
        Transport(Server(endpoint, "a", "b"))
    assert "hush" not in str(fault.value)


def test_a_libcurl_that_signs_wrong_is_a_fault_of_configuration(monkeypatch):
    """An old one, to which pycurl may have been built, is not tried."""
    monkeypatch.setattr("pycurl.version_info", lambda: (11, "8.16.0", 0x081000))
    with pytest.raises(Misconfigured, match=r"8\.19"):
        Transport(Server("http://minio", "a", "b"))


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
    return context, str(cert)


@pytest.mark.parametrize("named_by", ["nothing", "environment", "settings"])
def test_certificates_are_believed_only_where_known(certificate, named_by, monkeypatch):
    """An unknown certificate is no connection; one that the environment or the settings name is."""
    context, cert = certificate
    if named_by == "environment":
        monkeypatch.setenv("SSL_CERT_FILE", cert)
    ca_file = cert if named_by == "settings" else ""
    with peer([FOUND, GONE], tls=context) as port:
        answers = ask(port, "a", "b", scheme="https", ca_file=ca_file)
    if named_by == "nothing":
        assert "certificate" in answers["a"].reason
    else:
        assert [answer.status for answer in answers.values()] == [200, 404]


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_a_fault_of_configuration(tmp_path, content):
    """The service does not start without what it was told to trust."""
    ca_file = tmp_path / "ca.pem"
    if content:
        ca_file.write_text(content)
    with pytest.raises(Misconfigured, match="ca_file"):
        Objects(server_at(9, scheme="https", ca_file=str(ca_file)))


def test_a_handshake_that_does_not_come_ends_at_the_deadline():
    """A peer that accepts and keeps still holds nobody."""
    with socket.create_server(("127.0.0.1", 0)) as still:
        started = time.monotonic()
        answers = ask(still.getsockname()[1], "a", "b", scheme="https", deadline_s=0.3)
        assert time.monotonic() - started < 1.0
    assert answers == {"a": Broken("late")}


def test_a_connection_that_does_not_come_costs_its_slot():
    """A peer that accepts and keeps still is left after the time-out of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as still:
        started = time.monotonic()
        answers = ask(still.getsockname()[1], "a", "b", scheme="https", connect_s=0.2, timeout_s=5.0, deadline_s=10.0)
        assert time.monotonic() - started < 2.0
    assert answers == {"a": Broken("no connection: timed out")}
