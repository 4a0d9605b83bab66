"""The runs of a scrub: how long they last, where they go on, what they leave for others to see, and when MinIO goes."""

from __future__ import annotations

import io
import json
import re
from hashlib import sha256
from urllib.parse import urlsplit

import pytest

from tests.acceptance.test_commands import add_row
from tests.support import command
from tests.support.proxy import Cut, Pass, Proxy
from tests.support.waiting import until

WORDS = ("scrub", "-o", "json", "--margin", "0")
AT_ONCE = {"RECONCILER_POLICY__MISSING_GRACE": "100ms", "RECONCILER_POLICY__ORPHAN_GRACE": "0s"}
KIB = 2**10


@pytest.fixture
def between(minio):
    """Put a proxy before MinIO."""
    host, _, port = urlsplit(minio.url).netloc.partition(":")
    with Proxy(host, int(port)) as made:
        yield made


@pytest.fixture
def program(tmp_path, database, connection, minio, bucket, between) -> command.Program:
    """Give the command with its schema made, a column of checksums, and the proxy before MinIO."""
    connection.execute("ALTER TABLE file_versions ADD sha256 text")
    made = command.program(tmp_path, database, minio, bucket, {})
    more = {"RECONCILER_MAPPING__VERSION__SHA256": "sha256", "RECONCILER_MINIO__ENDPOINT": between.url}
    made = command.Program(made.file, made.environ | AT_ONCE | more)
    assert made.run("migrate", "--apply").returncode == 0
    return made


@pytest.fixture
def stored(connection, objects, bucket):
    """Return what stores so many versions, each with the checksum of its content."""

    def store(count: int, size: int = 4, told: bytes | None = None) -> None:
        for number in range(count):
            key, content = f"k{number}", bytes([number]) * size
            objects.put_object(bucket_name=bucket, object_name=key, data=io.BytesIO(content), length=size)
            version = add_row(connection, key, size)
            digest = sha256(content if told is None or number else told).hexdigest()
            connection.execute("UPDATE file_versions SET sha256 = %s WHERE id = %s", [digest, version])

    return store


def scrubbed(program, *words: str, status: int = 0) -> dict:
    """Run a scrub in this process, and return its report."""
    ended = program.run(*WORDS, *words)
    assert ended.returncode == status, (ended.stdout, ended.stderr)
    return json.loads(ended.stdout)


def test_a_run_ends_when_its_time_is_over_and_the_next_goes_on(program, stored):
    """What is begun is read to its end; nothing of the cycle is read twice."""
    stored(12, 128 * KIB)
    first = scrubbed(program, "--for", "3s", "--rate", "128KiB")
    assert first["state"] == "running"
    assert first["run"]["objects"] < 12
    second = scrubbed(program, "--rate", "10MiB")
    assert (second["id"], second["state"]) == (first["id"], "complete")
    assert first["run"]["objects"] + second["run"]["objects"] == second["cycle"]["agreed"] == 12


def test_begun_anew_it_reads_the_first_keys_again(program, stored, connection):
    """The cycle that is given up is kept as incomplete, and why."""
    stored(4)
    first, again = scrubbed(program, "--limit", "2"), scrubbed(program, "--limit", "3", "--anew")
    assert (first["stopped_after"], again["stopped_after"], again["cycle"]["objects"]) == ("k1", "k2", 3)
    kept = connection.execute("SELECT id, state, reason, totals FROM reconciler.sweep ORDER BY id").fetchall()
    assert [one[:3] for one in kept] == [(first["id"], "incomplete", "begun anew"), (again["id"], "running", "")]
    assert kept[0][3]["objects"] == 2


def test_its_figures_are_written_for_node_exporter(program, stored, bucket, tmp_path):
    """Each has its help and its type, names the bucket, and is of the whole cycle; complete is told once it is."""
    stored(3, told=b"other")
    file = tmp_path / "scrub.prom"
    scrubbed(program, "--limit", "2", "--metrics-file", str(file))
    assert "last_complete" not in re.sub(r"#.*", "", file.read_text("utf-8"))
    report = scrubbed(program, "--metrics-file", str(file))
    lines = file.read_text("utf-8").splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    of = f'{{bucket="{bucket}"}}'
    assert float(values[f"reconciler_scrub_cycle_mismatch{of}"]) == report["cycle"]["mismatch"] == 1
    assert float(values[f"reconciler_scrub_cycle_objects{of}"]) == 3
    assert float(values[f"reconciler_scrub_last_complete_timestamp_seconds{of}"]) > 1_700_000_000
    for name in {line.split("{")[0] for line in values}:
        assert any(line.startswith(f"# HELP {name} ") for line in lines), name
        assert f"# TYPE {name} gauge" in lines
    assert [one.name for one in tmp_path.glob("scrub.prom*")] == ["scrub.prom"]


def test_when_minio_goes_in_mid_run_nothing_is_found_and_the_next_run_goes_on(program, stored, between, connection):
    """Status 6, what was read before is kept, nothing is said to be missing; then all agrees."""
    stored(10, 64 * KIB)
    assert scrubbed(program, "--fix", "--limit", "2")["cycle"]["objects"] == 2
    before = between.requests
    with program.running(*WORDS, "--fix", "--rate", "64KiB") as process:
        until(lambda: between.requests > before + 5, 30, "it reads")
        between.set(Cut())
        told, _ = process.communicate(timeout=50)
    assert process.returncode == 6, (told, program.log())
    report = json.loads(told)
    assert (report["state"], report["run"]["missing"], report["run"]["mismatch"]) == ("incomplete", 0, 0)
    assert connection.execute("SELECT count(*) FROM reconciler.finding").fetchall() == [(0,)]
    between.set(Pass())
    after = scrubbed(program, "--fix")
    assert (after["id"], after["state"], after["cycle"]["agreed"]) == (report["id"], "complete", 10)


def test_where_no_index_orders_the_keys_they_are_copied_out_and_it_goes_on_the_same(
    program, stored, connection, tmp_path
):
    """Two objects a run make the same cycle of five; the copies lie where they are wanted, and are gone afterwards."""
    stored(5)
    connection.execute(
        "ALTER TABLE file_versions DROP CONSTRAINT file_versions_object_key_key;"
        "CREATE INDEX ON file_versions USING hash (object_key)"
    )
    place = tmp_path / "spool"
    missing = program.run(*WORDS, "--spool", str(place))
    assert (missing.returncode, "--spool" in missing.stderr) == (2, True)
    place.mkdir()
    runs = [scrubbed(program, "--limit", "2", "--spool", str(place)) for _ in range(3)]
    assert [(one["state"], one["cycle"]["objects"]) for one in runs] == [
        ("running", 2),
        ("running", 4),
        ("complete", 5),
    ]
    assert list(place.iterdir()) == []


def test_status_shows_the_last_scrub_and_how_far_the_next_is(program, stored):
    """Nothing before the first; then when it was complete, with what it found, and where the next one stands."""
    stored(3, told=b"other")
    assert "scrubs" not in program.json("status")
    report = scrubbed(program)
    scrubbed(program, "--limit", "2")
    [shown] = program.json("status")["scrubs"]
    assert (shown["objects"], shown["mismatch"], shown["missing"]) == (3, 1, 0)
    assert (shown["read_so_far"], shown["mismatch_so_far"], shown["stopped_after"]) == (2, 1, "k1")
    assert shown["last_complete_at"] > report["cycle_began_at"]
