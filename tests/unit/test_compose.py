"""docker-compose.kafka.yml as it is read: images, health, order, volumes, and roles that hold what their users need."""

import re
import subprocess
import tomllib

import pytest
import yaml

from consumer.roles import ROLES, policy, script
from deploy.local import images
from tests.support import composing
from tests.support.command import ROOT
from tests.support.configuration import loaded

FILE = ROOT / "docker-compose.kafka.yml"
TEXT = FILE.read_text("utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
ONCE, RESTING = {"bucket", "init"}, {"bucket", "init", "sweep"}
OURS = ("init", "consumer", "sweep")
WITHIN = {"environ": {"RECONCILER_DATABASE__URL": "postgresql://postgres:5432/application"}}


def test_compose_itself_finds_no_fault():
    """With the profile and without it."""
    words = composing.words()
    if words is None:
        pytest.skip("compose is not on this machine")
    for more in ([], ["--profile", "watch"]):
        ended = subprocess.run(
            [*words, "-f", str(FILE), *more, "config", "-q"], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr


def test_every_image_is_pinned_once():
    """Each is one of images.py, none is `latest`, and ours is the one that the Dockerfile builds."""
    named = {service["image"] for service in SERVICES.values()}
    assert named == {*images.ALL, images.OURS, images.PROMETHEUS, images.GRAFANA}
    assert all(re.search(r":[\w.-]*\d", image) for image in named)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert f"storage-reconciler:{version}" == images.OURS
    assert {SERVICES[name]["build"]["dockerfile"] for name in OURS} == {"deploy/image/Dockerfile"}


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_says_what_it_is_and_how_it_is_kept(name):
    """A line above it, a restart policy, a health check of whatever serves, and no port beyond this machine."""
    service = SERVICES[name]
    assert re.search(rf"^  # .*\n  {name}:$", TEXT, re.MULTILINE)
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    healthy = service.get("healthcheck", {"disable": True})
    assert bool(healthy.get("disable")) is (name in RESTING)
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_each_waits_for_what_it_stands_upon():
    """Whatever is waited for has a health check, or ends; nothing outside a profile waits for one inside."""
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            ends = other in ONCE
            wanted = "service_completed_successfully" if ends else "service_healthy"
            assert how["condition"] == wanted, (name, other)
            assert "profiles" in service or "profiles" not in SERVICES[other]
    assert set(SERVICES["init"]["depends_on"]) == {"postgres", "kafka", "bucket"}
    assert {name for name, service in SERVICES.items() if service.get("profiles") == ["watch"]} == {
        "prometheus",
        "grafana",
    }


def test_what_must_last_is_on_a_volume_of_its_own():
    """Rows, objects, records, and MinIO's queue of events, which is beside its objects and not among them."""
    mounted = [one for service in SERVICES.values() for one in service.get("volumes", ()) if not one.startswith("./")]
    names = [one.partition(":")[0] for one in mounted]
    assert sorted(names) == sorted(COMPOSE["volumes"]) == sorted(set(names))
    environment = SERVICES["minio"]["environment"]
    assert f"events:{environment['MINIO_NOTIFY_KAFKA_QUEUE_DIR_RECON']}" in SERVICES["minio"]["volumes"]
    assert (environment["MINIO_API_SYNC_EVENTS"], environment["MINIO_SYNC_BOOT"]) == ("on", "on")


@pytest.mark.parametrize("name", OURS)
def test_ours_runs_with_the_least(name):
    """Neither root, nor a place to write but memory, nor a capability."""
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    role = "owner" if name == "init" else "consumer"
    assert service["environment"]["RECONCILER_MINIO__ACCESS_KEY"] == f"reconciler_{role}"
    assert f"//reconciler_{role}:" in service["environment"]["RECONCILER_DATABASE__URL"]


def test_every_file_that_is_mounted_is_there():
    """A name that is not would become an empty directory."""
    for service in SERVICES.values():
        for one in service.get("volumes", ()):
            if one.startswith("./"):
                assert (ROOT / one.partition(":")[0]).exists(), one


def test_the_shipped_roles_are_those_of_its_configuration():
    """deploy/roles/ is printed for the example's tables and bucket, which are also those of this configuration."""
    text = (ROOT / "deploy" / "compose" / "reconciler.toml").read_text("utf-8")
    settings = loaded(text.replace("[mapping.bucket]", "[mapping.bucket]  "), **WITHIN)
    shipped = ROOT / "deploy" / "roles"
    assert set(script(settings).splitlines()) == set((shipped / "postgresql.sql").read_text("utf-8").splitlines())
    for role in ("owner", "consumer"):
        printed = policy(settings, [settings.mapping.bucket.name or ""], ROLES[role])
        assert yaml.safe_load((shipped / "minio" / f"{role}.json").read_text("utf-8")) == printed
