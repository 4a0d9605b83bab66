"""docker-compose.kafka.yml brought up by compose on a real engine, where both are at hand and the images can be had."""

import os
import secrets
import subprocess
from io import BytesIO

import psycopg
import pytest
import yaml

from deploy.local import containers, images
from deploy.local.minio import Minio
from tests.support import storage
from tests.support.command import ROOT
from tests.support.composing import words
from tests.support.scraping import Page
from tests.support.waiting import until

FILE = ROOT / "docker-compose.kafka.yml"
BASE = os.environ.get("RECONCILER_TEST_IMAGE_BASE", images.PYTHON)
FOUND = "SELECT kind, key, state FROM reconciler.finding"
ROW = """
WITH f AS (INSERT INTO storage_files (bucket_type) VALUES ('user') RETURNING id)
INSERT INTO file_versions (file_id, version_number, object_key, size) SELECT id, 1, 'users/1', 3 FROM f
"""


class Project:
    """The file's services under a name and on ports of their own, so that they disturb nobody's."""

    def __init__(self, directory, compose) -> None:
        whole = yaml.safe_load(FILE.read_text("utf-8"))
        for service in whole["services"].values():
            service["ports"] = ["127.0.0.1::" + port.rpartition(":")[2] for port in service.get("ports", ())]
            if "build" in service:
                service["image"] = f"{images.OURS}-test"
                service["build"] |= {"args": {"BASE": BASE}, "network": "host"}
        whole = {"version": "3.9"} | whole  # an older compose reads the newer file's form by this
        file = directory / "compose.yml"
        file.write_text(yaml.safe_dump(whole), "utf-8")
        name = f"test{secrets.token_hex(4)}"
        self._words = [*compose, "-p", name, "--project-directory", str(ROOT), "-f", str(file)]

    def run(self, *words):
        """Run one command of compose, which must succeed; returns what it prints."""
        done = subprocess.run([*self._words, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def at(self, service, port):
        """Return where this machine reaches a service's port."""
        return self.run("port", service, str(port)).strip()


@pytest.fixture
def project(tmp_path):
    """Give the project, and take everything of it away afterwards; skips where something lacks."""
    compose = words()
    if compose is None:
        pytest.skip("compose is not on this machine")
    if why := containers.missing([*images.ALL, BASE]):
        pytest.skip(why)
    made = Project(tmp_path, compose)
    yield made
    made.run("down", "--volumes", "--rmi", "local")


@pytest.mark.timeout(1200)
def test_one_command_brings_up_a_consumer_that_finds_a_deletion_and_a_sweep_that_ends(project):
    """Every service in its order; a deletion is found with its row; once more from its volumes, all is as it was."""
    project.run("up", "-d", "--build")
    until(Page(int(project.at("consumer", 9464).rpartition(":")[2])).is_ready, 90, "the consumer")
    url = f"postgresql://reconciler:reconciler-local@{project.at('postgres', 5432)}/application"
    objects = storage.client(Minio(f"http://{project.at('minio', 9000)}", "reconciler", "reconciler-local"))
    objects.put_object(bucket_name="staging-storage", object_name="users/1", data=BytesIO(b"AAA"), length=3)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(ROW)
        objects.remove_object(bucket_name="staging-storage", object_name="users/1")
        found = lambda: connection.execute(FOUND).fetchall()  # noqa: E731
        until(lambda: found() == [("missing", "users/1", "suspected")], 60, "the deletion")
    until(lambda: '"state":"complete"' in project.run("logs", "sweep"), 60, "the sweep")
    assert "observing" in project.run("exec", "-T", "consumer", "storage-reconciler", "status")
    project.run("down")
    project.run("up", "-d")
    url = f"postgresql://reconciler:reconciler-local@{project.at('postgres', 5432)}/application"
    with psycopg.connect(url, autocommit=True) as connection:
        assert [key for _, key, _ in connection.execute(FOUND).fetchall()] == ["users/1"]
