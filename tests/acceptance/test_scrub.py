"""`scrub` on real servers: what it reads, what it finds, where it goes on, and what becomes of a finding."""

from __future__ import annotations

import io
import json
import signal
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from time import monotonic

import pytest

from tests.acceptance.test_commands import add_row
from tests.support import command
from tests.support.waiting import until

WORDS = ("scrub", "-o", "json", "--margin", "0")
AT_ONCE = {"RECONCILER_POLICY__MISSING_GRACE": "100ms", "RECONCILER_POLICY__ORPHAN_GRACE": "0s"}


@pytest.fixture
def program(tmp_path, database, connection, minio, bucket) -> command.Program:
    """Give the command with its schema made, and a column of checksums."""
    connection.execute("ALTER TABLE file_versions ADD sha256 text")
    made = command.program(tmp_path, database, minio, bucket, {})
    made = command.Program(made.file, made.environ | AT_ONCE | {"RECONCILER_MAPPING__VERSION__SHA256": "sha256"})
    assert made.run("migrate", "--apply").returncode == 0
    return made


@pytest.fixture
def put(objects, bucket) -> Callable[[str, bytes], None]:
    """Return what puts an object."""

    def _put(key: str, content: bytes) -> None:
        objects.put_object(bucket_name=bucket, object_name=key, data=io.BytesIO(content), length=len(content))

    return _put


@pytest.fixture
def store(connection, put) -> Callable[..., str]:
    """Return what stores a version as an application does: object, row and checksum."""

    def _store(key: str, content: bytes, written: str | None = "") -> str:
        put(key, content)
        version = add_row(connection, key, len(content))
        told = sha256(content).hexdigest() if written == "" else written
        connection.execute("UPDATE file_versions SET sha256 = %s WHERE id = %s", [told, version])
        return version

    return _store


def scrubbed(program: command.Program, *words: str, status: int = 0) -> dict:
    """Run a scrub in this process, and return its report."""
    ended = program.run(*WORDS, *words)
    assert ended.returncode == status, (ended.stdout, ended.stderr)
    return json.loads(ended.stdout)


def kept(connection) -> list[tuple]:
    """Return the findings that are not closed."""
    return connection.execute("SELECT kind, key, state FROM reconciler.finding WHERE closed_at IS NULL").fetchall()


def expire(connection) -> None:
    """Let the leases be over of whoever is gone."""
    connection.execute("UPDATE reconciler.lease SET until = now()")


@pytest.mark.invariant(9)
def test_each_content_is_compared_and_a_report_writes_no_finding(connection, program, store, put):
    """Hex and base64 agree; other bytes of the same size are told with both checksums; what is no checksum is named."""
    store("fine", b"fine")
    store("in base64", b"good", b64encode(sha256(b"good").digest()).decode())
    version = store("rotten", b"good")
    put("rotten", b"r0tt")
    store("without", b"none", None)
    store("unreadable", b"none", "d41d8cd98f00b204e9800998ecf8427e")
    report = scrubbed(program)
    assert [(one["kind"], one["key"], one["row_id"]) for one in report["drifts"]] == [("mismatch", "rotten", version)]
    good, rotten = (sha256(content).hexdigest()[:12] for content in (b"good", b"r0tt"))
    assert report["drifts"][0]["cause"] == f"sha256: row {good}, object {rotten}"
    assert report["state"] == "complete"
    counted = {"rows": 5, "objects": 3, "agreed": 2, "mismatch": 1, "without_checksum": 1, "unreadable_checksum": 1}
    assert {name: report["run"][name] for name in counted} == counted
    assert [(one["key"], "d41d8cd9" in one["why"]) for one in report["faults"]] == [("unreadable", True)]
    assert kept(connection) == []
    assert connection.execute("SELECT kind, state, mismatch FROM reconciler.sweeps").fetchall() == [
        ("scrub", "complete", 1)
    ]
    assert program.run(*WORDS, "--exit-code").returncode == 3


def test_a_finding_outlives_sweeps_and_ends_with_a_new_upload_or_a_corrected_row(connection, program, store, put):
    """`sweep --fix` and looks by HEAD leave it open; written anew or corrected it is resolved, the object untouched."""
    for key in ("anew", "corrected"):
        store(key, b"good")
        put(key, b"r0tt")
    for number in range(3):
        store(f"fine/{number}", b"fine")
    assert program.run(*WORDS, "--why", "ticket 7").returncode == 2, "a report changes nothing"
    scrubbed(program, "--fix", "--who", "ann", "--why", "ticket 7")
    history = connection.execute("SELECT DISTINCT actor, why FROM reconciler.history WHERE finding_id IS NOT NULL")
    assert history.fetchall() == [("ann", "ticket 7")]
    mismatches = [("mismatch", "anew", "open"), ("mismatch", "corrected", "open")]
    assert sorted(kept(connection)) == mismatches
    assert program.run("sweep", "--fix", "-o", "json", "--margin", "0").returncode == 0
    assert sorted(kept(connection)) == mismatches
    assert connection.execute("SELECT count(*) FROM file_versions WHERE status = 'corrupted'").fetchall() == [(0,)]
    put("anew", b"good")
    connection.execute(
        "UPDATE file_versions SET sha256 = %s WHERE object_key = 'corrected'", [sha256(b"r0tt").hexdigest()]
    )
    assert program.run("sweep", "--fix", "-o", "json", "--margin", "0").returncode == 0
    assert kept(connection) == []
    assert scrubbed(program)["run"]["agreed"] == 5


def test_a_run_goes_on_where_the_last_stopped(connection, program, store):
    """Two objects a run: three runs make a cycle of five, and the next begins anew."""
    for number in range(5):
        store(f"k{number}", b"fine")
    assert scrubbed(program, "--for", "0s")["run"]["objects"] == 0, "no time is a bound, too"
    runs = [scrubbed(program, "--limit", "2") for _ in range(3)]
    assert [(one["state"], one["run"]["objects"], one["cycle"]["objects"]) for one in runs] == [
        ("running", 2, 2),
        ("running", 2, 4),
        ("complete", 1, 5),
    ]
    assert len({one["id"] for one in runs}) == 1
    assert scrubbed(program, "--limit", "1")["id"] != runs[0]["id"]


def test_a_missing_object_is_named_to_the_reconciler_and_not_flagged(connection, program, store, objects, bucket):
    """Reported, kept with --fix, and flagged by nobody who may only observe."""
    store("gone", b"fine")
    store("here", b"fine")
    objects.remove_object(bucket_name=bucket, object_name="gone")
    assert [(one["kind"], one["key"]) for one in scrubbed(program)["drifts"]] == [("missing", "gone")]
    scrubbed(program, "--fix")
    assert kept(connection) == [("missing", "gone", "open")]
    assert connection.execute("SELECT DISTINCT status FROM file_versions").fetchall() == [("active",)]


@pytest.mark.invariant(7)
def test_what_the_brake_holds_is_told_with_its_status(connection, program, store, objects, bucket):
    """Status 4 and the count, as of a sweep; so it is, too, while the brake is on. Nothing is flagged."""
    for number in range(8):
        store(f"k{number}", b"fine")
        objects.remove_object(bucket_name=bucket, object_name=f"k{number}")
    braked = {"FLAGGING": "true", "BRAKE__FLOOR": "5", "BRAKE__BUCKET_FLOOR": "5"}
    program = command.Program(program.file, program.environ | {f"RECONCILER_{name}": to for name, to in braked.items()})
    for _ in range(2):
        report = scrubbed(program, "--fix", status=4)
        assert (report["state"], report["run"]["held_by_brake"]) == ("complete", 8)
        assert connection.execute("SELECT DISTINCT status FROM file_versions").fetchall() == [("active",)]
    assert "brake release" in program.run("scrub", "--fix", "--margin", "0").stdout
    assert scrubbed(program)["run"]["held_by_brake"] == 0, "a report holds nothing"


def test_it_keeps_to_its_rate_is_alone_and_goes_on_after_a_kill(connection, program, store):
    """A second scrub of the bucket ends with 7; killed half-way, the next goes on; three MiB at 1 MiB/s take 3 s."""
    for number in range(12):
        store(f"k{number:02}", bytes([number]) * 2**18)
    with program.running(*WORDS, "--rate", "80KiB") as process:
        checkpoint = "SELECT checkpoint FROM reconciler.lease WHERE task LIKE 'sweep %%' AND checkpoint > ''"
        until(lambda: connection.execute(checkpoint).fetchall(), 30, "the first checkpoint")
        assert program.run(*WORDS).returncode == 7
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    [(at,)] = connection.execute(checkpoint).fetchall()
    expire(connection)
    began = monotonic()
    report = scrubbed(program, "--rate", "1MiB")
    took = monotonic() - began
    left = 12 - int(at[1:]) - 1
    assert report["run"]["objects"] == left
    assert (report["state"], report["cycle"]["objects"], report["cycle"]["agreed"]) == ("complete", 12, 12)
    assert report["took_s"] == pytest.approx(left / 4, rel=0.15, abs=0.3), took


def test_a_column_that_is_no_checksum_of_the_content_is_not_believed(connection, program, store):
    """Not one of twenty agrees: held, status 4, and nothing is kept."""
    for number in range(20):
        store(f"k{number}", b"fine", sha256(b"something else").hexdigest())
    ended = program.run(*WORDS, "--fix")
    assert ended.returncode == 4, ended.stderr
    assert "mapping.version.sha256" in json.loads(ended.stdout)["reason"]
    assert kept(connection) == []


@pytest.mark.parametrize(
    ("words", "changed", "told"),
    [
        (("--rate", "fast"), {}, "--rate: 'fast'"),
        (("--for", "long"), {}, "--for: 'long'"),
        (("--limit", "0"), {}, "--limit: '0'"),
        ((), {"RECONCILER_MAPPING__VERSION__SHA256": ""}, "mapping.version.sha256"),
    ],
)
def test_what_cannot_be_meant_is_named(program, words, changed, told):
    """Status 2, the value and the way out."""
    ended = program.run(*WORDS, *words, **changed)
    assert (ended.returncode, told in ended.stderr) == (2, True), ended.stderr
