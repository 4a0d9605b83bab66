"""MinIO: named, in Docker, or built from source; its events go to the stack's topic through a queue on disk."""

import os
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local import images
from deploy.local.cache import claim_port, kept
from deploy.local.containers import Wanted
from deploy.local.control import Control, Elsewhere, Launch
from deploy.local.kafka import Kafka
from deploy.local.place import Place, Way, named
from deploy.local.progress import run, step
from deploy.local.tools import go

SOURCE = "github.com/minio/minio@v0.0.0-20250907161309-07c3a429bfed"  # RELEASE.2025-09-07T16-13-09Z
CLIENT_SOURCE = "github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9"
ARN = "arn:minio:sqs::RECON:kafka"
USER = "reconciler"
PASSWORD = "reconciler-local"  # noqa: S105 - of a server on the loopback, with fresh data
WAY_OUT = "Is a Go module proxy reachable from here? Otherwise name a running MinIO in RECONCILER_TEST_MINIO_URL."
READY_TIMEOUT_SECONDS = 1.0


@dataclass(frozen=True)
class Minio:
    """What a client needs to reach MinIO."""

    url: str
    user: str
    password: str
    arn: str = ARN
    region: str = "us-east-1"
    control: Control = field(default_factory=Elsewhere, repr=False, compare=False)

    @property
    def endpoint(self) -> str:
        """Host and port, as minio.Minio(endpoint=…) takes them."""
        return self.url.split("://", 1)[1].rstrip("/")

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self.url.startswith("https://")


def find_or_start(place: Place, kafka: Kafka) -> Minio:
    """Return a MinIO whose target RECON sends to the given broker's topic."""
    url = named("RECONCILER_TEST_MINIO_URL", place.way)
    if url is not None:
        return _named(url)
    if place.way is Way.DOCKER:
        return _in_docker(place, kafka)
    return _native(place, kafka)


def client() -> Path:
    """Return MinIO's command line client, `mc`."""
    return _built("mc", CLIENT_SOURCE)


def settings(kafka: str, topic: str, queue: str) -> dict[str, str]:
    """Return the environment of a MinIO that loses no event while the broker is down."""
    return {
        "MINIO_ROOT_USER": USER,
        "MINIO_ROOT_PASSWORD": PASSWORD,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "MINIO_PROMETHEUS_AUTH_TYPE": "public",
        "MINIO_API_SYNC_EVENTS": "on",
        "MINIO_SYNC_BOOT": "on",
        "MINIO_NOTIFY_KAFKA_ENABLE_RECON": "on",
        "MINIO_NOTIFY_KAFKA_BROKERS_RECON": kafka,
        "MINIO_NOTIFY_KAFKA_TOPIC_RECON": topic,
        "MINIO_NOTIFY_KAFKA_QUEUE_DIR_RECON": queue,
    }


def _named(url: str) -> Minio:
    return Minio(
        url=url,
        user=os.environ.get("RECONCILER_TEST_MINIO_USER", USER),
        password=os.environ.get("RECONCILER_TEST_MINIO_PASSWORD", PASSWORD),
        arn=os.environ.get("RECONCILER_TEST_MINIO_ARN", ARN),
    )


def _native(place: Place, kafka: Kafka) -> Minio:
    binary = _built("minio", SOURCE)
    directory = place.directory_of("minio")
    url = f"http://127.0.0.1:{claim_port(place.exits)}"
    launch = Launch(
        name="MinIO",
        command=[str(binary), "server", "--quiet", "--address", url.removeprefix("http://"), str(directory / "data")],
        directory=directory,
        ready=lambda: _answers(url),
        environment=settings(kafka.bootstrap, kafka.topic, str(directory / "events")),
    )
    return Minio(url, USER, PASSWORD, control=place.start(launch))


def _in_docker(place: Place, kafka: Kafka) -> Minio:
    port = claim_port(place.exits)
    url = f"http://127.0.0.1:{port}"
    wanted = Wanted(
        name="MinIO",
        image=images.MINIO,
        port=9000,
        host_port=port,
        command=["server", "--quiet", "--address", ":9000", "/data"],
        ready=lambda: _answers(url),
        environment=settings(kafka.from_minio, kafka.topic, "/events"),
    )
    return Minio(url, USER, PASSWORD, control=place.start_container(wanted))


def _built(program: str, source: str) -> Path:
    """Return a program of MinIO's, built from its source once per user."""
    version = source.rsplit("-", 2)[1]

    def build(place: Path) -> None:
        environment = {"GOBIN": str(place), "GOFLAGS": "-trimpath", "CGO_ENABLED": "0"}
        toolchain = go()
        with step(f"{program}: building {source.rsplit('@', 1)[0]} (minutes, once)"):
            run([str(toolchain), "install", source], WAY_OUT, environment)

    return kept(f"{program}-{version}", build) / program


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/minio/health/ready", timeout=READY_TIMEOUT_SECONDS) as answer:  # noqa: S310
            return bool(answer.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False
