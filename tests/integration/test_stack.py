"""The local stack: it answers, ends with its run however that ends, and says clearly what is wrong."""

import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer

from deploy.local import cache, containers, images, kafka, postgres
from deploy.local.control import Launch, Native
from deploy.local.place import Way, chosen_way, named, place
from deploy.local.progress import Trouble, run
from tests.support.waiting import until

HOLD = """
import sys
from threading import Event
from deploy.local import postgres
from deploy.local.place import Way, place
with place(Way.NATIVE) as here:
    server = postgres.find_or_start(here)
    print(server.control.pid, here.directory, flush=True)
    Event().wait()
"""


def test_an_upload_is_reported_to_the_topic(objects, bucket, kafka):
    """An object put into a bucket is named by a record of the stack's topic."""
    objects.put_object(bucket_name=bucket, object_name="a b", data=BytesIO(), length=0)
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": bucket, "auto.offset.reset": "earliest"})
    consumer.subscribe([kafka.topic])

    def keys():
        return [json.loads(record.value())["Key"] for record in consumer.consume(100, timeout=0.2)]

    until(lambda: f"{bucket}/a b" in keys(), 20, "the record")
    consumer.close()


def test_a_test_database_holds_the_seeds_tables(connection):
    """Each test's database is a copy of the template."""
    assert connection.execute("SELECT count(*) FROM file_versions").fetchone() == (0,)


def test_the_database_prepares_transactions(database):
    """Prepared transactions are allowed, which servers forbid by default."""
    with psycopg.connect(database) as connection:
        connection.tpc_begin(connection.xid(1, "one", "two"))
        connection.tpc_prepare()
        connection.tpc_rollback()


def test_keys_sort_as_bytes(connection):
    """The database's own order is that of UTF-8 bytes."""
    rows = connection.execute("SELECT v FROM unnest(ARRAY['b', 'a', 'B', 'é', 'z']) v ORDER BY v").fetchall()
    assert [row[0] for row in rows] == ["B", "a", "b", "z", "é"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_end_with_their_run(number):
    """However a run is ended, its server's process and its directory are gone soon after."""
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as holder:
        pid, directory = holder.stdout.readline().split()
        holder.send_signal(number)
    until(lambda: not _runs(int(pid)), what="the end of the server")
    until(lambda: not Path(directory.decode()).exists(), what="the end of its directory")


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_two_stacks_live_side_by_side():
    """A second server has its own port and its own data, and keeps them over kill -9 and a new start."""
    with place(Way.NATIVE) as one, place(Way.NATIVE) as two:
        first, second = postgres.find_or_start(one), postgres.find_or_start(two)
        assert first.url != second.url
        with psycopg.connect(second.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS x")
        second.control.kill()
        assert not postgres.answers(second.url)
        second.control.start()
        with psycopg.connect(second.url) as connection:
            assert connection.execute("SELECT x FROM kept").fetchone() == (1,)
        assert postgres.answers(first.url)


def test_what_two_runs_need_at_once_is_built_once(tmp_path, monkeypatch):
    """Of two that ask for the same thing at once, one builds it and the other waits."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    started, builds = threading.Barrier(2), []

    def build(scratch):
        builds.append(scratch)
        (scratch / "program").write_text("built")

    def ask(_):
        started.wait()
        return cache.kept("thing-1", build)

    with ThreadPoolExecutor(2) as pool:
        places = set(pool.map(ask, range(2)))
    assert len(builds) == 1
    assert (places.pop() / "program").read_text() == "built"


def test_a_failed_build_leaves_nothing(tmp_path, monkeypatch):
    """What is in the cache is whole: a build that fails is not seen by the next run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def build(scratch):
        (scratch / "half").write_text("half")
        raise Trouble("no network")

    with pytest.raises(Trouble, match="no network"):
        cache.kept("thing-1", build)
    assert [path.name for path in cache.directory().iterdir() if path.is_dir()] == []


def test_a_port_is_claimed_once():
    """Ports of several stacks differ, even before anything listens on them."""
    with ExitStack() as exits:
        assert len({cache.claim_port(exits) for _ in range(50)}) == 50


def test_a_jar_with_another_hash_is_refused(tmp_path):
    """The error names the jar, the rule and the way out."""
    (tmp_path / "kafka-clients-4.3.1.jar").write_bytes(b"not what was pinned")
    with pytest.raises(
        Trouble, match=r"kafka-clients-4\.3\.1\.jar: SHA-256 is .*Only jars whose hash is pinned.*run again"
    ):
        kafka.check_jars(tmp_path, {"kafka-clients-4.3.1.jar": "0" * 64})


@pytest.mark.parametrize("pinned", [{}, {"a.jar": "0" * 64, "b.jar": "0" * 64}])
def test_a_jar_too_many_or_too_few_is_refused(tmp_path, pinned):
    """The jars are exactly those of the list."""
    (tmp_path / "a.jar").write_bytes(b"x")
    with pytest.raises(Trouble, match=r"(a|b)\.jar"):
        kafka.check_jars(tmp_path, pinned)


def test_what_the_environment_names_is_used(monkeypatch):
    """A named server is taken unless native or Docker is asked for; env insists on a name."""
    monkeypatch.delenv("RECONCILER_SERVERS", raising=False)
    monkeypatch.setenv("RECONCILER_TEST_MINIO_URL", "http://there:9000")
    assert named("RECONCILER_TEST_MINIO_URL", Way.NATIVE) == "http://there:9000"
    monkeypatch.setenv("RECONCILER_SERVERS", "native")
    assert named("RECONCILER_TEST_MINIO_URL", Way.NATIVE) is None
    monkeypatch.setenv("RECONCILER_SERVERS", "env")
    monkeypatch.delenv("RECONCILER_TEST_KAFKA_BOOTSTRAP", raising=False)
    with pytest.raises(Trouble, match="RECONCILER_TEST_KAFKA_BOOTSTRAP names no server"):
        named("RECONCILER_TEST_KAFKA_BOOTSTRAP", chosen_way())


def test_a_way_that_does_not_exist_is_named(monkeypatch):
    """A mistyped RECONCILER_SERVERS is an error, not a default."""
    monkeypatch.setenv("RECONCILER_SERVERS", "podman")
    with pytest.raises(Trouble, match=r"podman: must be one of env, docker, native"):
        chosen_way()


def test_no_docker_is_an_answer(monkeypatch):
    """Where no engine listens, Docker is passed over, and nothing is left open."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert containers.missing(images.ALL) == "no Docker engine answers"
    gc.collect()


def test_a_server_that_cannot_start_at_once_is_tried_again(tmp_path):
    """What a killed one left may outlast three quick tries; one that never comes up is told with its log."""
    tries = tmp_path / "tries"
    script = 'echo >> tries; [ "$(wc -l < tries)" -ge "$0" ] && exec sleep 60; echo "not yet"; exit 1'
    count = lambda: len(tries.read_text("utf-8").splitlines()) if tries.exists() else 0  # noqa: E731
    server = Native(Launch("Late", ["sh", "-c", script, "6"], tmp_path, ready=lambda: count() >= 6))
    server.start()
    assert count() == 6
    server.stop()
    never = Native(Launch("Never", ["sh", "-c", script, "1000000"], tmp_path, ready=lambda: False))
    with pytest.raises(Trouble, match=r"Never does not come up[\s\S]*not yet"):
        never.start()


def test_a_failed_command_says_how_it_failed():
    """The error carries the command's last lines and the way out."""
    with pytest.raises(Trouble, match=r"(?s)status 3\. Try another\..*it hurts"):
        run([sys.executable, "-c", "print('it hurts'); raise SystemExit(3)"], "Try another.")


def test_up_and_down(tmp_path):
    """A stack is left running, a second up finds it and prints the same, its lines name it, and down ends it."""
    private = tmp_path / "storage-reconciler"
    private.mkdir()
    for built in cache.directory().glob("*-[0-9]*[0-9]"):
        (private / built.name).symlink_to(built)

    def command(name):
        environment = os.environ | {"RECONCILER_SERVERS": "native", "XDG_CACHE_HOME": str(tmp_path)}
        return run([sys.executable, "-m", "deploy.local.stack", name], "", environment)

    said = command("up")
    url = re.search(r"export RECONCILER_TEST_POSTGRES_URL=(\S+)", said).group(1)
    try:
        assert url in command("up")
        assert postgres.answers(url)
    finally:
        assert "has ended" in command("down")
    assert not postgres.answers(url)
    assert "no stack" in command("down")
