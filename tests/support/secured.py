"""Servers that speak TLS alone, under certificates of a private CA, and the users that `roles` describes on them.

Kafka takes SCRAM-SHA-512 over TLS, PostgreSQL scram-sha-256 over TLS, MinIO https; MinIO itself logs in to Kafka.
"""

from __future__ import annotations

import os
import secrets
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import confluent_kafka as ck
import psycopg
import pytest
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from deploy.local import kafka as kafkas
from deploy.local import minio as minios
from deploy.local import postgres as postgreses
from deploy.local.cache import claim_port
from deploy.local.control import Control, Elsewhere, Launch
from deploy.local.minio import Minio
from deploy.local.place import Place, Way, place
from deploy.local.postgres import Postgres
from deploy.local.tools import java

HOST = "localhost"
TOPIC = "minio-events"
MINIO = "minio"  # as whom MinIO logs in to Kafka
ONLY_TLS = "hostssl all all 127.0.0.1/32 scram-sha-256\n"
PROPERTIES = {
    "listener.security.protocol.map": "INSIDE:SSL,CONTROLLER:SSL,SECURE:SASL_SSL",
    "inter.broker.listener.name": "INSIDE",
    "listener.name.inside.ssl.client.auth": "required",
    "listener.name.controller.ssl.client.auth": "required",
    "listener.name.secure.sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.secure.scram-sha-512.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": f"User:CN={HOST}",  # whoever shows the servers' own certificate
}


@dataclass(frozen=True)
class Authority:
    """A private CA, and the certificate that it gave to this machine's servers."""

    directory: Path

    @property
    def ca(self) -> Path:
        """The CA's certificate, which clients are told to trust."""
        return self.directory / "ca.crt"

    @property
    def certificate(self) -> Path:
        """The servers' certificate."""
        return self.directory / "server.crt"

    @property
    def key(self) -> Path:
        """Its key."""
        return self.directory / "server.key"


@dataclass(frozen=True)
class Broker:
    """A broker where users log in at `secure`, and whoever shows its own certificate may do all at `inside`."""

    secure: str
    inside: str
    authority: Authority
    control: Control = field(default_factory=Elsewhere, repr=False, compare=False)

    def master(self) -> dict[str, str]:
        """Return how one who may do all reaches it."""
        shown = {"ssl.certificate.location": self.authority.certificate, "ssl.key.location": self.authority.key}
        reach = {"bootstrap.servers": self.inside, "security.protocol": "SSL", "log_level": "0"}
        return {**reach, "ssl.ca.location": str(self.authority.ca), **{key: str(file) for key, file in shown.items()}}

    def admin(self) -> AdminClient:
        """Return what may do all."""
        return AdminClient(self.master())

    def give(self, user: str, word: str) -> None:
        """Give a user a password, a new one if it has one."""
        change = UserScramCredentialUpsertion(
            user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), word.encode()
        )
        admin = self.admin()  # kept in a name: its answers end with it
        admin.alter_user_scram_credentials([change])[user].result(30)

    def login(self, user: str, word: str) -> dict[str, str]:
        """Return how a user reaches it."""
        reach = {"bootstrap.servers": self.secure, "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512"}
        return {**reach, "ssl.ca.location": str(self.authority.ca), "sasl.username": user, "sasl.password": word}


@dataclass(frozen=True)
class Secured:
    """All three servers."""

    authority: Authority
    postgres: Postgres
    broker: Broker
    minio: Minio


def authority(directory: Path) -> Authority:
    """Make a CA, and have it sign a certificate for this machine under its name."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make certificates")
    made = Authority(directory)
    request, extension, curve = directory / "server.csr", directory / "names", "ec_paramgen_curve:prime256v1"
    extension.write_text(f"subjectAltName=DNS:{HOST},IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n", "utf-8")
    new = [openssl, "req", "-newkey", "ec", "-pkeyopt", curve, "-nodes"]
    signed = ["-CA", str(made.ca), "-CAkey", str(directory / "ca.key"), "-extfile", str(extension), "-days", "2"]
    for words in (
        [*new, "-x509", "-days", "2", "-subj", "/CN=a CA", "-keyout", str(directory / "ca.key"), "-out", str(made.ca)],
        [*new, "-subj", f"/CN={HOST}", "-keyout", str(made.key), "-out", str(request)],
        [openssl, "x509", "-req", "-in", str(request), *signed, "-out", str(made.certificate)],
    ):
        subprocess.run(words, check=True, capture_output=True)
    return made


@contextmanager
def servers(around: Place) -> Iterator[Secured]:
    """Start all three, or skip where servers are not ours to configure."""
    if around.way is not Way.NATIVE:
        pytest.skip("only servers of our own can be told to speak TLS alone")
    with place(Way.NATIVE) as here:
        signed = authority(here.directory)
        word = secrets.token_hex(12)
        broker = _kafka(here, signed)
        broker.give(MINIO, word)
        yield Secured(signed, _postgres(here, signed), broker, _minio(here, broker, word))


def _kafka(here: Place, signed: Authority) -> Broker:
    jars, runtime, directory = kafkas._jars(), java(), here.directory_of("kafka")  # noqa: SLF001 - as the stack does
    secure, inside, controller = (f"{HOST}:{claim_port(here.exits)}" for _ in range(3))
    bound = {name: at.replace(HOST, "127.0.0.1") for name, at in (("SECURE", secure), ("INSIDE", inside))}
    usual = kafkas._properties(directory, inside, controller)  # noqa: SLF001
    given = dict(line.split("=", 1) for line in usual.splitlines()) | PROPERTIES
    given["listeners"] = ",".join(f"{name}://{at}" for name, at in {**bound, "CONTROLLER": controller}.items())
    given["advertised.listeners"] = f"SECURE://{secure},INSIDE://{inside}"
    keystore = directory / "keystore.pem"
    keystore.write_text(signed.key.read_text("utf-8") + signed.certificate.read_text("utf-8"), "utf-8")
    given |= {"ssl.keystore.location": str(keystore), "ssl.truststore.location": str(signed.ca)}
    properties = directory / "server.properties"
    properties.write_text("".join(f"{name}={value}\n" for name, value in given.items()), "utf-8")
    kafkas._format(runtime, jars, directory)  # noqa: SLF001
    broker = Broker(secure, inside, signed)
    command = [*kafkas._java(runtime, jars, directory), "kafka.Kafka", str(properties)]  # noqa: SLF001
    return replace(broker, control=here.start(Launch("Kafka", command, directory, ready=lambda: _answers(broker))))


def _answers(broker: Broker) -> bool:
    try:
        return bool(broker.admin().list_topics(timeout=1.0).brokers)
    except ck.KafkaException:
        return False


def _postgres(here: Place, signed: Authority) -> Postgres:
    server = postgreses.find_or_start(here)
    home = here.directory / "postgres" / "data"
    owner = home.stat().st_uid
    for source in (signed.certificate, signed.key):
        target = home / source.name
        shutil.copy(source, target)
        os.chown(target, owner, -1)
        target.chmod(0o600)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET ssl = on")
        (home / "pg_hba.conf").write_text(ONLY_TLS, "utf-8")
        connection.execute("SELECT pg_reload_conf()")
    signed.ca.chmod(0o644)
    there = server.url.replace("127.0.0.1", HOST)
    return Postgres(f"{there}?sslmode=verify-full&sslrootcert={signed.ca}", server.control)


def _minio(here: Place, broker: Broker, word: str) -> Minio:
    binary, directory = minios._built("minio", minios.SOURCE), here.directory_of("minio")  # noqa: SLF001
    certificates = directory / "certs"
    (certificates / "CAs").mkdir(parents=True)
    signed = broker.authority
    for source, name in ((signed.certificate, "public.crt"), (signed.key, "private.key"), (signed.ca, "CAs/ca.crt")):
        shutil.copy(source, certificates / name)
    address = f"127.0.0.1:{claim_port(here.exits)}"
    url = f"https://{address.replace('127.0.0.1', HOST)}"
    words = ["server", "--quiet", "--certs-dir", str(certificates), "--address", address, str(directory / "data")]
    target = {"TLS": "on", "SASL": "on", "SASL_USERNAME": MINIO, "SASL_PASSWORD": word, "SASL_MECHANISM": "sha512"}
    environment = minios.settings(broker.secure, TOPIC, str(directory / "events"))
    environment |= {f"MINIO_NOTIFY_KAFKA_{name}_RECON": value for name, value in target.items()}
    trust = ssl.create_default_context(cafile=str(signed.ca))
    ready = lambda: _ready(url, trust)  # noqa: E731 - one line says it
    launch = Launch("MinIO", [str(binary), *words], directory, ready=ready, environment=environment)
    return Minio(url, minios.USER, minios.PASSWORD, control=here.start(launch))


def _ready(url: str, trust: ssl.SSLContext) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/minio/health/ready", timeout=1.0, context=trust) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def as_files(directory: Path, environ: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return an environment in which these variables name files that hold what they held."""
    directory.mkdir(exist_ok=True)
    kept = {name: value for name, value in environ.items() if name not in names}
    for name in names:
        write(directory / name.lower(), environ[name])
        kept[f"{name}_FILE"] = str(directory / name.lower())
    return kept


def write(file: Path, text: str) -> None:
    """Put a file in another's place at once, as whoever hands out secrets does."""
    new = file.with_suffix(".new")
    new.write_text(f"{text}\n", "utf-8")
    new.replace(file)
