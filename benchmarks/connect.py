"""A Kafka Connect worker with Debezium's JDBC sink, fetched from Maven, its hashes checked; it writes a mirror table.

MinIO's records carry no schema, and a JDBC sink wants one. Kafka's own HoistField over a StringConverter gives it one
without a line of code: the record's key is the primary key, its whole value one text, which the mirror takes apart.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from uuid import uuid4

from benchmarks.stream import Place
from deploy.local.cache import claim_port, kept
from deploy.local.control import Launch, Native
from deploy.local.kafka import VERSION, by_jgo, check_jars, fetch_jars, pins
from deploy.local.progress import Trouble, last_lines, step
from deploy.local.tools import java

JARS = f"org.apache.kafka:connect-runtime:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
PINNED = Path(__file__).with_name("connect-jars.sha256")
SINK = "3.6.0.Final"
SINK_SHA256 = "c23af8d416f0f801ffb0271b1a8fd9b5360ff8d66b0dd650e066bb56ecfddc05"
FETCH = """
import sys
from jgo.maven import MavenContext
plugin = MavenContext().project("io.debezium", "debezium-connector-jdbc").at_version(sys.argv[1])
print(plugin.artifact("plugin", "tar.gz").resolve())
"""
HEAP = "1g"  # the most that it takes for its objects, whether it needs that or not
TASKS = 2  # with one it was as fast, with four slower, without UNNEST half as fast


@dataclass(frozen=True)
class Worker:
    """A worker that answers, and what its sinks have to reach."""

    pid: int
    address: str
    place: Place

    @contextmanager
    def mirroring(self, topic: str, table: str) -> Iterator[None]:
        """Let a topic be written into a table, from its first record on, for as long as that lasts."""
        name = f"{table}-{uuid4().hex}"  # which names its group, too
        self._ask("POST", "/connectors", {"name": name, "config": _sink(self.place, topic, table)})
        yield
        self._ask("DELETE", f"/connectors/{name}")

    def _ask(self, method: str, path: str, told: object = None) -> None:
        body = json.dumps(told).encode() if told else None
        request = urllib.request.Request(self.address + path, body, {"Content-Type": "application/json"}, method=method)  # noqa: S310 - our own worker
        try:
            urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
        except urllib.error.HTTPError as refused:
            raise Trouble(f"Kafka Connect refuses {method} {path}: {refused.read().decode()}") from refused


@contextmanager
def connecting(place: Place) -> Iterator[Worker]:
    """Run a worker that has nothing to do yet; yields it when it answers."""
    with ExitStack() as exits:
        directory = Path(exits.enter_context(TemporaryDirectory(prefix="reconciler-connect-")))
        address = f"http://127.0.0.1:{claim_port(exits)}"
        programs, runtime = installed(), java()
        properties = directory / "worker.properties"
        written = _worker(place, programs, directory, address)
        properties.write_text("".join(f"{name}={value}\n" for name, value in written.items()), encoding="utf-8")
        log = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", f"-Djava.io.tmpdir={directory}"]
        main = "org.apache.kafka.connect.cli.ConnectStandalone"
        command = [str(runtime), f"-Xmx{HEAP}", *log, "-cp", f"{programs}/worker/*", main, str(properties)]
        server = Native(Launch("Kafka Connect", command, directory, ready=lambda: _answers(address)))
        exits.callback(server.stop)
        server.start()
        try:
            yield Worker(server.pid, address, place)
        except TimeoutError as silent:
            raise Trouble(f"{silent}; the end of Kafka Connect's log:\n{last_lines(server.launch.log)}") from silent


def installed() -> Path:
    """Return the directory of the worker's jars and of its plugin, fetched once per user, and checked."""

    def build(place: Path) -> None:
        runtime = java()
        worker, plugins = place / "worker", place / "plugins"
        worker.mkdir()
        with step(f"Kafka Connect: fetching {VERSION} and Debezium's JDBC sink {SINK}"):
            plugin = Path(by_jgo(FETCH, SINK, place, runtime))
            if hashlib.sha256(plugin.read_bytes()).hexdigest() != SINK_SHA256:
                raise Trouble(f"{plugin.name} is not the one that benchmarks/connect.py pins: remove it and run again")
            with tarfile.open(plugin) as packed:
                packed.extractall(plugins, filter="data")
            fetch_jars(JARS, worker, runtime)
        check_jars(worker, pins(PINNED), f"benchmarks/{PINNED.name}")

    return kept(f"kafka-connect-{VERSION}-{SINK}", build)


def _worker(place: Place, programs: Path, directory: Path, address: str) -> dict[str, str]:
    text = "org.apache.kafka.connect.storage.StringConverter"
    return {
        "bootstrap.servers": place.bootstrap,
        "key.converter": text,
        "value.converter": text,
        "plugin.path": str(programs / "plugins"),
        "plugin.discovery": "service_load",  # to look into every jar takes a minute where the machine is slow
        "offset.storage.file.filename": str(directory / "offsets"),
        "offset.flush.interval.ms": "1000",
        "listeners": address,
    }


def _sink(place: Place, topic: str, table: str) -> dict[str, str]:
    """Return the sink's configuration: batches of thousands, each one statement over arrays."""
    database = urlsplit(place.database)
    return {
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": str(TASKS),
        "topics": topic,
        "connection.url": f"jdbc:postgresql://{database.hostname}:{database.port}{database.path}",
        "connection.username": database.username or "",
        "connection.password": database.password or "",
        "collection.name.format": table,
        "insert.mode": "upsert",
        "primary.key.mode": "record_key",
        "primary.key.fields": "key",
        "schema.evolution": "none",
        "batch.size": "3000",
        "use.reduction.buffer": "true",
        "dialect.postgres.unnest.insert.enabled": "true",
        "transforms": "key, event",
        "transforms.key.type": "org.apache.kafka.connect.transforms.HoistField$Key",
        "transforms.key.field": "key",
        "transforms.event.type": "org.apache.kafka.connect.transforms.HoistField$Value",
        "transforms.event.field": "event",
        "consumer.override.auto.offset.reset": "earliest",
        "consumer.override.max.poll.records": "3000",
        "consumer.override.fetch.max.bytes": str(50 * 2**20),
        "consumer.override.max.partition.fetch.bytes": str(8 * 2**20),
    }


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/connectors", timeout=1) as answer:  # noqa: S310 - our own worker
            return bool(answer.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False
