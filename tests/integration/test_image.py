"""Our image: built from this tree and started, where an engine is at hand and a base can be had.

RECONCILER_TEST_IMAGE_BASE names another base than the Dockerfile's, such as one that was built on this machine.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing

import docker
import pytest

from deploy.local import containers, images
from deploy.local.cache import claim_port
from tests.support.command import ROOT
from tests.support.locking import canonical, locked
from tests.support.scraping import Page
from tests.support.waiting import until

DOCKERFILE = (ROOT / "deploy" / "image" / "Dockerfile").read_text("utf-8")
BUILD_S = 900
HEALTHY_S = 90
BILL = "/opt/storage-reconciler/sbom.cdx.json"
KINDS = ("pypi", "deb")


def test_the_base_is_pinned_in_one_place():
    """The Dockerfile and images.py name the same base, by a tag that is not moved on, and every package by its hash."""
    assert re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE) == [images.PYTHON]
    assert re.fullmatch(r"\w+:\d+\.\d+\.\d+-\S+", images.PYTHON)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${BASE}"}
    assert DOCKERFILE.count("--require-hashes") == len(re.findall(r"-r requirements/", DOCKERFILE))


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    """Reach an engine, or skip."""
    found = containers.engine()
    if found is None:
        pytest.skip("no Docker engine answers")
    with closing(found):
        yield found


@pytest.fixture(scope="module")
def image(engine) -> Iterator[str]:
    """Build the image, and remove it afterwards; skips where its base is neither there nor to be had."""
    base = os.environ.get("RECONCILER_TEST_IMAGE_BASE", images.PYTHON)
    why = containers.missing([base])
    if why:
        pytest.skip(why)
    built, _ = engine.images.build(
        path=str(ROOT), dockerfile="deploy/image/Dockerfile", buildargs={"BASE": base}, network_mode="host", rm=True
    )
    yield str(built.id)
    engine.images.remove(built.id, force=True)


@pytest.fixture
def exits() -> Iterator[ExitStack]:
    """Give what ends with the test."""
    with ExitStack() as ends:
        yield ends


@pytest.mark.timeout(BUILD_S)
def test_it_consumes_without_root_and_without_writing(engine, image, site, exits):
    """Healthy on a root that cannot be written, as nobody's user, without any capability; SIGTERM ends it with 0."""
    file, within = site.program.file, "/etc/storage-reconciler/reconciler.toml"
    file.chmod(0o644)  # read by the container's user, through the mount
    environ = {name: value for name, value in site.program.environ.items() if name.startswith("RECONCILER_")}
    port = claim_port(exits)
    container = engine.containers.run(
        image,
        detach=True,
        environment=environ | {"RECONCILER_CONFIG": within, "RECONCILER_WEB__PORT": str(port)},
        network_mode="host",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        volumes={str(file): {"bind": within, "mode": "ro"}},
    )
    try:
        until(lambda: health(container) == "healthy", HEALTHY_S, "the health check")
        assert [Page(port).ask(path).status for path in ("/", "/metrics")] == [200, 200]
        assert container.exec_run(["id", "-u"]).output.strip() == b"65532"
        for tool in ("pip", "pip3", "gcc", "make"):
            assert container.exec_run(["sh", "-c", f"command -v {tool}"]).exit_code != 0, tool
        assert container.exec_run(["sh", "-c", "touch /tmp/x"]).exit_code != 0
        container.kill("SIGTERM")
        assert container.wait(timeout=30)["StatusCode"] == 0, container.logs().decode()
    finally:
        container.remove(force=True)


def health(container) -> str:
    """Return what the engine holds of a container's health."""
    container.reload()
    assert container.status == "running", container.logs().decode()
    return str(container.attrs["State"]["Health"]["Status"])


def test_its_bill_of_materials_lies_in_it(engine, image):
    """Every package that is locked, the interpreter and the packages of its system, as CycloneDX."""
    read = ["-c", f"print(open('{BILL}').read())"]
    told = engine.containers.run(image, read, entrypoint=["python"], remove=True, network_mode="none", read_only=True)
    bill = json.loads(told)
    assert bill["bomFormat"] == "CycloneDX"
    kinds = {
        kind: {one["name"] for one in bill["components"] if one["purl"].startswith(f"pkg:{kind}/")} for kind in KINDS
    }
    [python] = [one["version"] for one in bill["components"] if one["name"] == "cpython"]
    wanted = locked(python_full_version=python, python_version=python.rpartition(".")[0])
    assert {canonical(name) for name in kinds["pypi"]} == set(wanted)
    assert {"libc6", "openssl"} & kinds["deb"], "the base that is named is of Debian"


def test_it_answers_by_itself(engine, image):
    """The program answers without a network and without a place to write; labels say what it is."""
    said = engine.containers.run(image, ["version"], remove=True, network_mode="none", read_only=True)
    assert b"storage-reconciler" in said
    found = engine.images.get(image)
    assert found.attrs["Config"]["User"] == "65532:65532"
    assert found.labels["org.opencontainers.image.title"] == "storage-reconciler"
