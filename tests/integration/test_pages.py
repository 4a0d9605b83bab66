"""The status page over real servers: what it says, to whom, how fast, and what happens while a server is away."""

import http.client
import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from consumer.duties.canary import Arrival, Canary, Judged
from consumer.pages.site import PATIENCE_S, SLOTS
from reconcile.database import migrate
from tests.support import command, consuming, paging, proxy
from tests.support.waiting import until

AT_MOST_S = 0.1
PATHS = ("/", "/findings", "/findings?kind=orphan", "/findings?cause=nowhere", "/findings?prefix=users/7/", "/sweeps")
MANY = """
INSERT INTO reconciler.finding (bucket, key, row_id, kind, state, cause, group_name, owner, size_bytes, opened_at,
                                evidence)
SELECT 'files', 'users/' || i % 1000 || '/file-' || i || '.pdf', CASE WHEN i % 2 = 0 THEN i::text ELSE '' END,
       (ARRAY['missing', 'orphan', 'mismatch', 'leftover'])[1 + i % 4], 'open', 'no row names it', 'g' || i % 10,
       'o' || i % 100, i, now(), jsonb_build_object('event', 's3:ObjectRemoved:Delete', 'principal', 'alice',
           'source_address', '192.0.2.7', 'event_time', now(),
           'object', jsonb_build_object('seen', 'absent', 'etag', md5(i::text)))
FROM generate_series(1, 100000) AS i;
INSERT INTO reconciler.history (finding_id, subject, actor, act, from_state, to_state, at)
SELECT i, 'files/k', 'stream', 'opened', 'suspected', 'open', now() - i * interval '20 seconds'
FROM generate_series(1, 100000) AS i;
"""


@pytest.fixture
def settings(tmp_path, database, connection, minio):
    """Return the settings of a site with our schema, and without Kafka."""
    migrate(connection)
    return consuming.settings_of(command.program(tmp_path, database, minio, "files", {}).environment({}))


def test_the_first_page_says_what_is_wrong_and_what_to_do(settings, connection):
    """A brake is told first, with the commands as they are to be typed; a page shows no script and asks no network."""
    with paging.serving(settings) as page:
        connection.execute(
            "INSERT INTO reconciler.restraint (effect, bucket, kind, actor, why) "
            "VALUES ('brake', 'files', 'missing', 'x', '200 flags in 10 min')"
        )
        answer = page.ask("/")
    assert answer.status == 200
    assert "One thing wants you now" in answer.text
    assert "storage-reconciler --config /etc/reconciler.toml brake release --kind missing" in answer.text
    assert "200 flags in 10 min" in answer.text
    assert "<script" not in answer.text


def test_a_canary_is_told_while_it_is_on(settings, connection):
    """A lane that is silent wants somebody now, with its likely cause; what was kept of one that is off is old."""
    judged = Judged(silent={"durable": ("rule_removed", "no rule sends deletions")})
    told = paging.encoded(Canary(number=5, sent={"5": 1.7e9}, lanes={"durable": Arrival()}, judged=judged))
    connection.execute(
        "INSERT INTO reconciler.lease (task, lower, tally, owner, until) VALUES ('canary', 'files', %s, 'x', now())",
        [told],
    )
    with paging.serving(settings) as page:
        assert "canary" not in page.ask("/").text.lower()
    is_on = replace(settings, canary=replace(settings.canary, interval=timedelta(minutes=1)))
    with paging.serving(is_on) as page:
        assert "The durable lane of bucket files is silent: rule_removed" in page.ask("/").text


def test_every_page_is_quick_over_100_000_findings(settings, connection):
    """No page counts or sorts them all: each is there within a tenth of a second."""
    connection.execute(MANY)
    connection.execute("VACUUM ANALYZE reconciler.finding")
    with paging.serving(settings) as page:
        for path in (*PATHS, "/findings/50001", "/findings?kind=missing&after=50000"):
            until(lambda path=path: took(page, path) < AT_MOST_S, 60, f"{path} within {AT_MOST_S} s")


def took(page, path: str) -> float:
    """Return how many seconds an answer took."""
    begun = time.monotonic()
    assert page.ask(path).status == 200
    return time.monotonic() - begun


def test_what_cannot_be_meant_is_refused(settings):
    """Odd queries get a 400, what is not there a 404, and none of them an error."""
    with paging.serving(settings) as page:
        for query in ("kind=x", "state=x", "after=x", "after=99999999999999999999", "prefix=%00", "prefix=%ff"):
            assert page.ask(f"/findings?{query}").status == 400, query
        assert page.ask(f"/findings?prefix={'x' * 5_000}").status == 400
        for path in ("/findings/1", "/findings/999999999999999999", "/findings/x", "/findings/1/2", "/style.css"):
            assert page.ask(path).status == 404, path
        assert page.ask("/findings?prefix=%27%3B+DROP+TABLE&owner=%25&held=1&state=all").status == 200
        assert page.ask("/", "POST").status == 405
        assert (page.ask("/", "HEAD").status, page.ask("/", "HEAD").text) == (200, "")


def test_every_answer_carries_what_a_page_needs(settings):
    """Also a refusal: no script, no frame, no guessing, no trace for others, nothing kept."""
    with paging.serving(settings) as page:
        for path in (*PATHS, "/findings?kind=x", "/findings/1"):
            headers = page.ask(path).headers
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cache-Control"] == "no-store"


def test_only_this_machine_s_own_names_are_answered(settings):
    """A foreign name that leads here is refused; metrics and probes, which show no key, answer to any."""
    with paging.serving(settings) as page:
        for path, status in (("/", 421), ("/findings", 421), ("/metrics", 200), ("/livez", 200)):
            connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
            connection.request("GET", path, headers={"Host": f"rebound.example:{page.port}"})
            assert connection.getresponse().status == status, path
            connection.close()


def test_a_database_that_is_away_is_told_and_delays_nobody(settings, postgres, database):
    """It breaks, or is silent: a 503 within the patience that says what is known, and metrics all the while."""
    host, port = postgres.url.split("@")[-1].split("/")[0].split(":")
    with proxy.Proxy(host, int(port)) as between:
        through = database.replace(f":{port}/", f":{between.port}/")
        behind = replace(settings, database=replace(settings.database, url=through))
        with paging.serving(behind) as page:
            assert [page.ask("/").status for _ in range(SLOTS)] == [200] * SLOTS  # every connection is open
            for fault in (proxy.Stall(), proxy.Cut()):
                between.set(fault)
                begun = time.monotonic()
                answer = page.ask("/")
                assert answer.status == 503
                assert time.monotonic() - begun < PATIENCE_S + 2
                assert "postgresql does not answer" in answer.text
                assert answer.headers["Retry-After"] == "5"
                assert page.ask("/livez").status == 200
            for _ in range(2 * SLOTS):  # what is not answered holds no thread of the web
                page.ask("/findings")
            begun = time.monotonic()
            assert page.ask("/metrics").status == 200
            assert time.monotonic() - begun < 1
            between.set(proxy.Pass())
            until(lambda: page.ask("/").status == 200, 30, "the page is back")


def test_slow_clients_hold_nobody_up(settings):
    """Fifty that send half a request, and twenty that do not read theirs, cost nobody an answer."""
    with paging.serving(settings) as page, ExitStack() as exits:
        for at in range(70):
            client = exits.enter_context(socket.create_connection(("127.0.0.1", page.port)))
            client.sendall(b"GET /findings HTTP/1.1\r\nHost: localhost\r\n" + (b"" if at < 50 else b"\r\n"))
        assert page.ask("/").status == 200
        assert page.ask("/livez").status == 200


def test_a_finding_says_what_would_repair_it(settings, connection, minio):
    """Both sides are looked at in that moment: what works is there with its command, as `findings show` tells it."""
    row_id = consuming.insert(connection, "users/1/gone.pdf", status="corrupted")
    connection.execute(
        "INSERT INTO reconciler.finding (bucket, key, row_id, kind, state, previous_status, cause) "
        "VALUES ('files', 'users/1/gone.pdf', %s, 'missing', 'open', 'active', 'the object is gone')",
        [row_id],
    )
    with paging.serving(settings) as page:
        answer = page.ask("/findings/1")
    assert answer.status == 200
    assert "What would repair it" in answer.text
    assert "storage-reconciler --config /etc/reconciler.toml purge 1 --older-than 0s" in answer.text
    assert f"explain {row_id}" in answer.text


def test_a_minio_that_is_away_hides_only_what_would_repair_it(settings, connection):
    """The finding is shown all the same, and the page says why that is not known."""
    connection.execute(
        "INSERT INTO reconciler.finding (bucket, key, row_id, kind, state) "
        "VALUES ('files', 'k', '1', 'missing', 'open')"
    )
    away = replace(settings, minio=replace(settings.minio, endpoint="http://127.0.0.1:1"))
    with paging.serving(away) as page:
        answer = page.ask("/findings/1")
    assert answer.status == 200
    assert "is not known" in answer.text or "nothing could be proven" in answer.text
