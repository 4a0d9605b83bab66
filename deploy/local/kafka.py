"""Kafka: named, in Docker, or its jars run here; one node that is broker and controller, and the stack's topic."""

import hashlib
import os
import secrets
import shutil
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import not_
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from deploy.local import images
from deploy.local.cache import claim_port, kept
from deploy.local.containers import Wanted
from deploy.local.control import Control, Elsewhere, Launch
from deploy.local.place import Place, Way, named
from deploy.local.progress import Trouble, run, step
from deploy.local.tools import java

VERSION = "4.3.1"
JARS = f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36"  # without the second, it logs nothing
PINNED = Path(__file__).with_name("kafka-jars.sha256")
WAY_OUT = (
    "Is a Maven repository reachable from here? Otherwise name a running broker in RECONCILER_TEST_KAFKA_BOOTSTRAP."
)
FETCH = "import sys, jgo; print(jgo.build(sys.argv[1]).path)"
FROM_NETWORK = "kafka:19092"
ASK_SECONDS = 1.0
ADMIN_SECONDS = 20.0
TOLD_SECONDS = 0.05


@dataclass(frozen=True)
class Kafka:
    """What a client needs to reach Kafka; `from_minio` is the broker's address as MinIO sees it."""

    bootstrap: str
    topic: str
    control: Control = field(default_factory=Elsewhere, repr=False, compare=False)
    from_minio: str = ""


def find_or_start(place: Place, topic: str = "minio-events", partitions: int = 4) -> Kafka:
    """Return a broker that has the topic."""
    bootstrap = named("RECONCILER_TEST_KAFKA_BOOTSTRAP", place.way)
    if bootstrap is not None:
        kafka = Kafka(bootstrap, os.environ.get("RECONCILER_TEST_KAFKA_TOPIC", topic), from_minio=bootstrap)
    elif place.way is Way.DOCKER:
        kafka = _in_docker(place, topic)
    else:
        kafka = _native(place, topic)
    create_topic(kafka.bootstrap, kafka.topic, partitions)
    return kafka


def create_topic(bootstrap: str, topic: str, partitions: int) -> None:
    """Create a topic unless it exists."""
    admin = _admin(bootstrap)
    if topic in admin.list_topics(timeout=ADMIN_SECONDS).topics:
        return
    wanted = NewTopic(topic, num_partitions=partitions, replication_factor=1)
    admin.create_topics([wanted], operation_timeout=ADMIN_SECONDS)[topic].result(ADMIN_SECONDS)
    known = Retrying(retry=retry_if_result(not_), stop=stop_after_delay(ADMIN_SECONDS), wait=wait_fixed(TOLD_SECONDS))
    known(
        lambda: topic in admin.list_topics(timeout=ADMIN_SECONDS).topics
    )  # the controller made it; the broker follows


def answers(bootstrap: str) -> bool:
    """Tell whether a broker answers a metadata request."""
    try:
        return bool(_admin(bootstrap).list_topics(timeout=ASK_SECONDS).brokers)
    except KafkaException:
        return False


def check_jars(directory: Path, pinned: Mapping[str, str], told: str = f"deploy/local/{PINNED.name}") -> None:
    """Hold every jar to its pinned hash, and the list of jars to the list of pins, which `told` holds; else Trouble."""
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in directory.glob("*.jar")}
    for name in sorted(found.keys() | pinned.keys()):
        if found.get(name) != pinned.get(name):
            raise Trouble(
                f"{name}: SHA-256 is {found.get(name, 'that of no file: it did not come')}, but {told} says "
                f"{pinned.get(name, 'nothing of such a jar')}. Only jars whose hash is pinned are run. Remove "
                f"{directory}, if it is there, and run again; another version is pinned in {told}."
            )


def pins(file: Path = PINNED) -> dict[str, str]:
    """Return the pinned hash of each jar."""
    lines = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
    return {name: digest for digest, name in lines}


def _native(place: Place, topic: str) -> Kafka:
    jars, runtime = _jars(), java()
    directory = place.directory_of("kafka")
    bootstrap = f"127.0.0.1:{claim_port(place.exits)}"
    properties = directory / "server.properties"
    properties.write_text(_properties(directory, bootstrap, f"127.0.0.1:{claim_port(place.exits)}"), encoding="utf-8")
    command = [*_java(runtime, jars, directory), "kafka.Kafka", str(properties)]
    _format(runtime, jars, directory)
    launch = Launch("Kafka", command, directory, ready=lambda: answers(bootstrap))
    return Kafka(bootstrap, topic, place.start(launch), from_minio=bootstrap)


def _in_docker(place: Place, topic: str) -> Kafka:
    port = claim_port(place.exits)
    bootstrap = f"127.0.0.1:{port}"
    wanted = Wanted(
        name="Kafka",
        image=images.KAFKA,
        port=9092,
        host_port=port,
        command=[],
        ready=lambda: answers(bootstrap),
        environment=_environment(bootstrap),
    )
    return Kafka(bootstrap, topic, place.start_container(wanted), FROM_NETWORK)


def _java(runtime: Path, jars: Path, directory: Path) -> list[str]:
    options = ["-Xmx512m", "-Xms256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Djava.io.tmpdir={directory}"]
    log = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
    return [str(runtime), *options, *log, "-cp", f"{jars}/*"]


def _format(runtime: Path, jars: Path, directory: Path) -> None:
    cluster = urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
    arguments = ["kafka.tools.StorageTool", "format", "-t", cluster.replace("-", "A"), "-c"]
    with step("Kafka: formatting its storage"):
        command = [*_java(runtime, jars, directory), *arguments, str(directory / "server.properties")]
        run(command, f"Remove {jars} and run again.")


def _environment(bootstrap: str) -> dict[str, str]:
    """Return the image's settings: it names each property in capitals, with _ for each dot."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": "1@127.0.0.1:9093",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "NETWORK",
        "listeners": "HOST://:9092,NETWORK://:19092,CONTROLLER://:9093",
        "advertised.listeners": f"HOST://{bootstrap},NETWORK://{FROM_NETWORK}",
        "listener.security.protocol.map": "HOST:PLAINTEXT,NETWORK:PLAINTEXT,CONTROLLER:PLAINTEXT",
        **SETTINGS,
    }
    named = {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in settings.items()}
    return named | {"KAFKA_HEAP_OPTS": "-Xmx512m"}


def _properties(directory: Path, bootstrap: str, controller: str) -> str:
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{bootstrap},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{bootstrap}",
        "log.dirs": str(directory / "data"),
        **SETTINGS,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


SETTINGS = {
    "auto.create.topics.enable": "false",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",  # a killed broker is let in again only when its former session has ended
    "default.replication.factor": "1",
    "group.initial.rebalance.delay.ms": "0",
    "log.retention.hours": "-1",
    "min.insync.replicas": "1",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.replication.factor": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}


def _jars() -> Path:
    """Return the directory of Kafka's jars, fetched once per user, and checked."""

    def build(place: Path) -> None:
        runtime = java()
        with step(f"Kafka: fetching the jars of {VERSION}"):
            fetch_jars(JARS, place, runtime)
        check_jars(place, pins())

    jars = kept(f"kafka-{VERSION}", build)
    check_jars(jars, pins())  # each time: it costs 0.1 s
    return jars


def fetch_jars(wanted: str, place: Path, runtime: Path) -> None:
    """Fetch what Maven's coordinates name, with all that it needs, into a directory."""
    said = by_jgo(FETCH, wanted, place, runtime)
    for jar in Path(said).glob("*/*.jar"):
        shutil.copyfile(jar, place / jar.name)
    shutil.rmtree(place / "fetched")


def by_jgo(program: str, wanted: str, place: Path, runtime: Path) -> str:
    """Let jgo resolve and fetch, in a process of its own: it would look for a JDK if it saw no Java."""
    environment = {
        "JAVA_HOME": str(runtime.resolve().parents[1]),
        "JGO_CACHE_DIR": str(place / "fetched" / "environments"),
        "M2_REPO": str(place / "fetched" / "repository"),
    }
    return run([sys.executable, "-c", program, wanted], WAY_OUT, environment).strip().splitlines()[-1]


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
