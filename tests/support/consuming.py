"""A site where the consumer runs: an application's rows and objects, a topic of its own, and what is asked of them.

Also a command, for what must be killed: `consumer POINT` runs the consumer until it reaches that point and kills
itself there, `lane` holds the express lane. The environment is that of the site's program.
"""

import calendar
import json
import os
import secrets
import signal
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import confluent_kafka as ck
import minio as minio_py
import psycopg

from consumer.duties.clocks import ServerClock
from consumer.duties.losswatch import Heartbeat
from consumer.kafka.topic import Topic
from consumer.letters.letter import Letter, letter_of
from consumer.service import Service, stream_of
from consumer.stream.events import Poison, Record
from consumer.stream.express import Lane
from consumer.stream.hold import Hold
from consumer.stream.loop import Consumer
from deploy.local import kafka as kafkas
from deploy.local.minio import Minio
from reconcile.config.settings import Settings, load
from reconcile.database import Database, migrate
from reconcile.opening import named_buckets
from reconcile.steps import Tally
from reconcile.store.objects import Objects
from reconcile.store.server import Server
from reconcile.tables.catalog import compiled
from reconcile.world import LiveWorld
from tests.support import command, storage
from tests.support.roles import hired
from tests.support.waiting import until

SIZE = 10
POINTS = ("polled", "buried", "written", "reconciled", "committed")
OPEN = "SELECT key, kind, state FROM reconciler.finding WHERE closed_at IS NULL"
WRITTEN = """
SELECT (SELECT count(*) FROM reconciler.look) + (SELECT count(*) FROM reconciler.restraint)
     + (SELECT count(*) FROM pg_sequences WHERE schemaname = 'reconciler' AND last_value IS NOT NULL)
"""


@dataclass(frozen=True)
class Site:
    """One application: its database, its bucket, the topic of its events and the group that reads it."""

    program: command.Program
    database: str
    opened: list[psycopg.Connection]
    client: minio_py.Minio
    bucket: str
    topic: str
    kafka: dict[str, Any]
    producer: ck.Producer
    asker: ck.Consumer

    @property
    def connection(self) -> psycopg.Connection:
        """Return our own connection, opened anew where an outage broke it."""
        if not self.opened or self.opened[-1].broken:
            self.opened.append(psycopg.connect(self.database, autocommit=True))
        return self.opened[-1]

    def settings(self, **changed: str) -> Settings:
        """Return the settings as the command would read them."""
        return settings_of(self.program.environment(changed))

    def sql(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask or tell the database; once more, where an outage broke the connection."""
        try:
            cursor = self.connection.execute(query.encode(), parameters or None)
        except psycopg.OperationalError:
            cursor = self.connection.execute(query.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def row(self, key: str, size: int = SIZE, **columns: object) -> str:
        """Commit a file with one live version, and return the version's id."""
        return insert(self.connection, key, size, **columns)

    def status(self, row_id: str) -> str:
        """Return a version's status."""
        [(status,)] = self.sql("SELECT status FROM file_versions WHERE id = %s", row_id)
        return str(status)

    def put(self, key: str, size: int = SIZE) -> None:
        """Put an object."""
        self.client.put_object(bucket_name=self.bucket, object_name=key, data=BytesIO(b"x" * size), length=size)

    def remove(self, key: str) -> None:
        """Remove an object."""
        self.client.remove_object(bucket_name=self.bucket, object_name=key)

    def created(self, key: str, size: int = SIZE, ago_s: float = 0) -> bytes:
        """Return the record that MinIO writes of an upload."""
        return event("s3:ObjectCreated:Put", self.bucket, key, size, ago_s)

    def removed(self, key: str) -> bytes:
        """Return the record that MinIO writes of a deletion."""
        return event("s3:ObjectRemoved:Delete", self.bucket, key)

    def send(
        self, values: Sequence[bytes | None], partition: int = 0, headers: Sequence[tuple[str, bytes]] = ()
    ) -> list[int]:
        """Write records, and return their offsets."""
        offsets: list[int] = []

        def delivered(fault: ck.KafkaError | None, message: ck.Message) -> None:
            assert fault is None, fault
            offsets.append(message.offset())

        for value in values:
            key = b"a key"
            self.producer.produce(
                self.topic, value, key, partition=partition, headers=list(headers), on_delivery=delivered
            )
        self.producer.flush(30)
        assert len(offsets) == len(values)
        return offsets

    def spread(self, values: Sequence[bytes | None]) -> None:
        """Write records to the four partitions in turn."""
        for partition in range(4):
            self.send(values[partition::4], partition)

    def ends(self) -> dict[int, int]:
        """Return where each partition that holds records ends."""
        marks = {one.partition: self.asker.get_watermark_offsets(one, timeout=10)[1] for one in self._partitions()}
        return {partition: mark for partition, mark in marks.items() if mark}

    def committed(self) -> dict[int, int]:
        """Return what the broker holds as committed, where that is anything."""
        found = self.asker.committed(self._partitions(), timeout=30)  # the first question makes a broker create a topic
        return {place.partition: place.offset for place in found if place.offset > 0}

    def caught_up(self) -> bool:
        """Tell whether all that was written is committed; not while a broker that comes up cannot say."""
        try:
            return self.committed() == self.ends()
        except ck.KafkaException:
            return False

    def letters(self, seconds: float = 15.0, wanted: int = 1, topic: str = "") -> list[ck.Message]:
        """Read the dead letter topic, or another, to its present end, which must hold so many at least."""
        place = ck.TopicPartition(topic or f"{self.topic}.dead-letter", 0)
        settings = {**self.kafka, "group.id": secrets.token_hex(4)}
        read: list[ck.Message] = []
        with closing(ck.Consumer(settings)) as reader:
            _, end = until(
                lambda: ends if (ends := reader.get_watermark_offsets(place))[1] >= wanted else None, seconds
            )
            place.offset = 0
            reader.assign([place])
            until(lambda: (read.extend(reader.consume(end, 0.2)), len(read) >= end)[1], seconds, "the dead letters")
        return read

    def bury(self, letters: Sequence[Letter]) -> None:
        """Write dead letters, as an older version would have."""
        for letter in letters:
            self.producer.produce(f"{self.topic}.dead-letter", letter.value, letter.key, headers=list(letter.headers))
        self.producer.flush(30)

    def delete_records(self, partition: int, before: int, topic: str = "") -> None:
        """Let retention eat the records before an offset."""
        admin = ck.admin.AdminClient({"bootstrap.servers": self.kafka["bootstrap.servers"], "log_level": 0})
        place = ck.TopicPartition(topic or self.topic, partition, before)
        admin.delete_records([place], operation_timeout=10)[place].result()

    def members(self) -> list[tuple[str, str]]:
        """Return the group's members by id and client, as the broker knows them."""
        admin = ck.admin.AdminClient({"bootstrap.servers": self.kafka["bootstrap.servers"], "log_level": 0})
        group = self.kafka["group.id"]
        found = admin.describe_consumer_groups([group], request_timeout=10)[group].result()
        return [(member.member_id, member.client_id) for member in found.members]

    def open(self) -> set[tuple[str, str, str]]:
        """Return the findings that are not closed, as (key, kind, state)."""
        return set(self.sql(OPEN))

    def acts(self, key: str) -> list[str]:
        """Return what the history tells of one key."""
        subject = f"{self.bucket}/{key}"
        return [
            act for (act,) in self.sql("SELECT act FROM reconciler.history WHERE subject = %s ORDER BY id", subject)
        ]

    def nothing_written(self) -> bool:
        """Tell whether nothing was ever kept, not even for a moment."""
        return self.sql(WRITTEN) == [(0,)]

    def hurry(self) -> None:
        """Make every look due now."""
        self.sql("UPDATE reconciler.look SET due_at = now()")

    @contextmanager
    def prepared(self, *keys: str) -> Iterator[psycopg.Connection]:
        """Lend a transaction that has inserted rows and is prepared; roll it back unless it was committed."""
        with psycopg.connect(self.database) as application:
            application.tpc_begin(application.xid(1, secrets.token_hex(8), "upload"))
            for key in keys:
                insert(application, key)
            application.tpc_prepare()
            try:
                yield application
            finally:
                if self.sql("SELECT FROM pg_prepared_xacts WHERE database = current_database()"):
                    application.tpc_rollback()

    @contextmanager
    def uncommitted(self, *keys: str) -> Iterator[psycopg.Connection]:
        """Lend a transaction of the application that has inserted rows and is still open."""
        with psycopg.connect(self.database) as application:
            for key in keys:
                insert(application, key)
            yield application
            application.rollback()

    def _partitions(self) -> list[ck.TopicPartition]:
        known = self.asker.list_topics(self.topic, timeout=10).topics[self.topic].partitions
        return [ck.TopicPartition(self.topic, partition) for partition in sorted(known)]


def letter(site: Site, value: bytes, offset: int, at_ms: int = -1) -> Letter:
    """Return the dead letter of a record."""
    record = Record(site.topic, 0, offset, value, timestamp_ms=at_ms)
    return letter_of(Poison(record, "not-json", "as it was then"))


def insert(connection: psycopg.Connection, key: str, size: int = SIZE, **columns: object) -> str:
    """Insert a file with one live version, and return the version's id."""
    [(file_id,)] = connection.execute("INSERT INTO storage_files (bucket_type) VALUES ('user') RETURNING id").fetchall()
    values = {"file_id": file_id, "version_number": 1, "object_key": key, "size": size, **columns}
    names, marks = ", ".join(values), ", ".join(f"%({name})s" for name in values)
    query = f"INSERT INTO file_versions ({names}) VALUES ({marks}) RETURNING id"  # noqa: S608 - our own names
    [(row_id,)] = connection.execute(query.encode(), values).fetchall()
    return str(row_id)


def event(name: str, bucket: str, key: str, size: int | None = None, ago_s: float = 0) -> bytes:
    """Return a record as MinIO's Kafka target writes it."""
    at = time.gmtime(calendar.timegm(time.gmtime()) - ago_s)
    what = {"key": quote_plus(key), "sequencer": secrets.token_hex(8)} | ({"size": size} if size else {})
    request = {"principalId": "alice", "region": "", "sourceIPAddress": "192.0.2.7"}
    one = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", at),
        "eventName": name,
        "userIdentity": {"principalId": "alice"},
        "requestParameters": request,
        "responseElements": {"x-amz-request-id": "18613C1A6E0E5B0A"},
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": bucket}, "object": what},
        "source": {"host": "192.0.2.7", "userAgent": "test"},
    }
    return json.dumps({"EventName": name, "Key": f"{bucket}/{key}", "Records": [one]}).encode()


@contextmanager
def site(directory: Path, database: str, minio: Minio, bootstrap: str, topic: str, bucket: str = "") -> Iterator[Site]:
    """Prepare a site whose program is no more than the shipped consumer, on PostgreSQL and MinIO."""
    with (
        superuser_site(directory, database, minio, bootstrap, topic, bucket) as made,
        hired(made.program, lambda: made.connection, minio) as consumer,
    ):
        made.program.environ.update(consumer)
        yield made


@contextmanager
def superuser_site(
    directory: Path, database: str, minio: Minio, bootstrap: str, topic: str, bucket: str = ""
) -> Iterator[Site]:
    """Prepare our schema, the dead letter topic, and a bucket whose events go nowhere unless one is named."""
    client = storage.client(minio)
    if not bucket:
        bucket = f"test-{secrets.token_hex(6)}"
        client.make_bucket(bucket_name=bucket)
    kafkas.create_topic(bootstrap, f"{topic}.dead-letter", 1)
    group = f"test-{secrets.token_hex(6)}"
    kafka = {"bootstrap.servers": bootstrap, "group.id": group, "session.timeout.ms": "6000"}
    kafka |= {"heartbeat.interval.ms": "300"}
    program = command.program(directory, database, minio, bucket, {**kafka, "reconnect.backoff.max.ms": "500"})
    program.environ["RECONCILER_STREAM__TOPIC"] = topic
    producer = ck.Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    asker = ck.Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 0})
    made = Site(program, database, [], client, bucket, topic, kafka, producer, asker)
    with closing(asker):
        migrate(made.connection)
        yield made
        for connection in made.opened:
            connection.close()


def settings_of(environ: dict[str, str]) -> Settings:
    """Return the settings that a program's environment names."""
    text = Path(environ["RECONCILER_CONFIG"]).read_text("utf-8")
    return load(tomllib.loads(text), environ, lambda path: Path(path).read_text("utf-8"))


def world(settings: Settings, exits: ExitStack, actor: str, minio_url: str = "") -> LiveWorld:
    """Open both sides as one thread of the service has them; `minio_url` may be that of a proxy."""
    database = Database(settings.database.url, name=actor)
    exits.callback(database.close)
    with database.use() as connection:
        mapping = compiled(connection, settings.mapping)
    minio = settings.minio
    server = Server(minio_url or minio.endpoint, minio.access_key, minio.secret_key, minio.region, timeout_s=2.0)
    store = exits.enter_context(Objects(server))
    return LiveWorld(database, mapping, store, settings.policy, settings.brake, actor, look_deadline_s=5.0)


@contextmanager
def consuming(settings: Settings, actor: str = "test") -> Iterator[Consumer]:
    """Open the consumer's loop as the service does; turns are the caller's."""
    with ExitStack() as exits:
        both = world(settings, exits, actor)
        kafka = {**settings.kafka, **settings.kafka_topic}
        beat = Heartbeat(both.database, actor, named_buckets(settings))
        topic = Topic(settings.stream.topic, kafka, settings.stream.dead_letter_topic, beat)
        exits.callback(topic.close)
        ahead = ServerClock(both.objects, settings.mapping.bucket.name or "")
        stream = stream_of(Service(settings, threading.Event()))
        yield Consumer(topic, both, Hold(), stream, server_ahead=ahead)


def turning(*consumers: Consumer, until_true: Callable[[], Any], seconds: float = 20.0, what: str = "") -> Tally:
    """Let each take turns until it is so, and return what the turns came to."""
    total = Tally()

    def step() -> Any:
        nonlocal total
        for one in consumers:
            total += one.turn()
        return until_true()

    until(step, seconds, what)
    return total


@contextmanager
def beside(work: Callable[[], None], stop: threading.Event) -> Iterator[None]:
    """Do work in a thread until the block ends; what it raised is raised here."""
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            raised.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(15)
    assert not thread.is_alive(), "it does not end when told to"
    if raised:
        raise raised[0]


@contextmanager
def lane(settings: Settings, bucket: str, actor: str = "lane", minio_url: str = "") -> Iterator[Lane]:
    """Run an express lane in a thread, with the object store perhaps behind a proxy."""
    stop = threading.Event()
    with ExitStack() as exits:
        both = world(settings, exits, actor)
        listened = world(settings, exits, actor, minio_url).objects
        made = Lane(
            both, listened, bucket, lambda named, _: named == bucket, lambda s: stop.wait(s) if s else stop.is_set()
        )
        with beside(made.run, stop):
            yield made


def after(begun: float, seconds: float) -> Callable[[], bool]:
    """Return what becomes true when so many seconds have passed since a monotonic time."""
    return lambda: time.monotonic() > begun + seconds


@contextmanager
def killed_at(site: Site, *words: str, **changed: str) -> Iterator[Any]:
    """Start this module as a process, lend it, and kill it if it still runs."""
    import subprocess  # noqa: PLC0415 - the child does without it

    child = [sys.executable, "-m", "tests.support.consuming", *words]
    with site.program.file.with_suffix(".child").open("a") as told:
        process = subprocess.Popen(child, env=site.program.environment(changed), cwd=command.ROOT, stderr=told)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def die() -> None:
    """End as by kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def trap(consumer: Consumer, point: str) -> None:
    """Have the process killed where the consumer first reaches a point of its turn with work in hand."""
    topic, both = consumer.topic, consumer.world
    poll, bury, commit, transaction = topic.poll, topic.bury, topic.commit, both.transaction
    wrote = threading.Event()

    def polled(patience: float, most: int) -> Any:
        batch = poll(patience, most)
        if point == "polled" and batch.records:
            die()
        return batch

    def buried(poison: Any) -> None:
        bury(poison)
        if point == "buried" and poison:
            die()

    @contextmanager
    def in_transaction(refs: Any) -> Iterator[Any]:
        with transaction(refs) as txn:
            yield txn
            wrote.set()
            if point == "written":  # and not committed
                die()

    def committed(offsets: Any) -> None:
        if point == "reconciled" and offsets and wrote.is_set():
            die()
        commit(offsets)
        if point == "committed" and offsets and wrote.is_set():
            die()

    topic.poll, topic.bury, topic.commit, both.transaction = polled, buried, committed, in_transaction


def main() -> None:
    """Run what is to be killed."""
    settings = settings_of(dict(os.environ))
    if sys.argv[1] == "lane":
        with lane(settings, settings.mapping.bucket.name or "", actor=f"child {os.getpid()}"):
            signal.pause()
    with consuming(settings, actor=f"child {os.getpid()}") as running:
        trap(running, sys.argv[2])
        running.run(lambda: False, lambda _: None)


if __name__ == "__main__":
    main()
