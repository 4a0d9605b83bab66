"""What docker-compose.kafka.yml does, step by step, on real servers in the place of its containers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml

from deploy.local import minio as minios
from deploy.local.stack import Servers, stack
from tests.support import scraping, storage
from tests.support.command import ROOT, Program
from tests.support.waiting import until

SERVICES = yaml.safe_load((ROOT / "docker-compose.kafka.yml").read_text("utf-8"))["services"]
POLICIES = "/policies"
FOUND = "SELECT key, kind FROM reconciler.finding"


@pytest.fixture
def servers(shown):
    """Start servers of this test's own, since names of roles and topics are those of the file."""
    with shown():
        opened = stack()
        made = opened.__enter__()
    yield made
    opened.__exit__(None, None, None)


@pytest.fixture
def here(servers: Servers) -> Callable[[str], str]:
    """Return what puts this run's addresses in the place of the services' names."""
    names = {
        "postgres:5432": urlsplit(servers.postgres.url).netloc.rpartition("@")[2],
        "http://minio:9000": servers.minio.url,
        "kafka:19092": servers.kafka.bootstrap,
        POLICIES: str(ROOT / "deploy" / "roles" / "minio"),
        "$$": "$",
    }

    def replaced(text: str) -> str:
        for name, address in names.items():
            text = text.replace(name, address)
        return text

    return replaced


def fill(servers: Servers) -> str:
    """Make the database as the image does at its first start: by the files that are mounted, in their order."""
    with psycopg.connect(servers.postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE application")
    url = servers.postgres.database_url(SERVICES["postgres"]["environment"]["POSTGRES_DB"])
    mounted = [one.split(":") for one in SERVICES["postgres"]["volumes"] if "initdb.d" in one]
    with psycopg.connect(url, autocommit=True) as connection:
        for file, _, _ in sorted(mounted, key=lambda one: one[1]):
            connection.execute((ROOT / file).read_bytes())
    return url


def service(name: str, directory: Path, here: Callable[[str], str]) -> Program:
    """Return our program with the configuration and the environment of a service."""
    file = directory / f"{name}.toml"
    file.write_text(here((ROOT / "deploy" / "compose" / "reconciler.toml").read_text("utf-8")), "utf-8")
    given = {key: here(value) for key, value in SERVICES[name]["environment"].items()}
    given |= {"RECONCILER_WEB__BIND": "127.0.0.1", "RECONCILER_WEB__PORT": "0", "RECONCILER_FLAGGING": "false"}
    least = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "RECONCILER_CONFIG": str(file)}
    return Program(file, least | given)


@pytest.mark.timeout(400)
def test_its_steps_lead_to_a_consumer_that_hears_and_a_sweep_that_ends(servers, tmp_path, here):
    """Each service's own words, users and policies suffice, in their order, and once more when it starts again."""
    url = fill(servers)
    path = f"{minios.client().parent}:{os.environ['PATH']}"
    for _ in range(2):
        words = [*SERVICES["bucket"]["entrypoint"], here(SERVICES["bucket"]["command"][0])]
        made = subprocess.run(
            words, env={"PATH": path, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stdout + made.stderr
        done = service("init", tmp_path, here).process(*SERVICES["init"]["command"])
        assert done.returncode == 0, done.stdout + done.stderr
    consumer = service("consumer", tmp_path, here)
    objects = storage.client(servers.minio)
    with consumer.running("consume", "--log-format", "json", RECONCILER_POLICY__ORPHAN_GRACE="1s") as process:
        page = scraping.page(consumer)
        until(lambda: page.ask("/readyz").status == 200, 60, "it is ready")
        objects.put_object(bucket_name="staging-storage", object_name="orphan", data=BytesIO(b"A"), length=1)
        with psycopg.connect(url, autocommit=True) as connection:
            until(lambda: connection.execute(FOUND).fetchall() == [("orphan", "orphan")], 60, "it heard of the orphan")
        assert "denied" not in consumer.log().lower()
        process.terminate()
        assert process.wait(30) == 0
    swept = service("sweep", tmp_path, here).process("sweep", "--log-format", "json")
    assert swept.returncode == 0, swept.stderr
    assert "nothing was kept" not in swept.stdout
