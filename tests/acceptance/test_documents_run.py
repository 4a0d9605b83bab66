"""Each command of the documents is run as it stands, on real servers; what is not run is named, with the reason."""

from functools import partial

import pytest

from consumer.duties.passed import passed
from deploy.local.place import Way, place
from tests.support import documented, premises
from tests.support.documented import PAGES, Typed
from tests.support.premises import Premises

NOT_RUN = {  # what a line begins with, and why nobody types it here
    "make test": "runs this test",
    ".ci/run": "runs this test",
    "make check": "runs beside this test, in .ci/run",
    "make setup": "has made what this test runs in",
    "make demo": "takes a minute, and checks itself",
    "make up": "tests/integration/test_stack.py does, in a directory of its own",
    "make down": "the same",
    "make sbom": "tests/integration/test_sbom.py makes the bill",
    "make lock": "asks package registries, and changes the lock",
    "make proof": "takes half an hour; its short form is tests/simulation",
    "make faults": "takes half an hour; its short form is tests/faults",
    "make bench": "takes minutes to hours, and measures",
    "python3 -m venv": "makes a directory of root's, into which pip would install",
    "pip install": "asks a package registry; make setup installs what is locked",
    "make audit": "asks a public database; tests/unit/test_audit.py holds how its answer is taken",
    "export": "the environment of the test holds these values",
    "mc": "is given in parts here, without a bucket or a user; tests/acceptance/test_compose_steps.py runs whole lines",
    "rclone": "is named as a rival, for benchmarks alone",
    "docker": "wants an engine; with one: tests/integration/test_image.py, tests/acceptance/test_compose_up.py",
    "debootstrap": "fetches a distribution",
    "tar": "imports into an engine what debootstrap made",
    "RECONCILER_TEST_IMAGE_BASE=": "wants an engine; it names a test",
    "RECONCILER_FLAGGING=true docker": "wants an engine",
    "kubectl": "wants a cluster; tests/unit/test_kubernetes.py holds the manifests to its schemas",
    "systemctl": "wants systemd at work; tests/unit/test_systemd.py has the units examined by systemd itself",
    "ssh": "wants another machine",
}
TYPED = [line for page in PAGES for line in documented.typed(page)]
RUN = [line for line in TYPED if not line.text.startswith(tuple(NOT_RUN))]
ASKED = {page.name: statements for page in PAGES if (statements := documented.statements(page))}
CONSUME, CURL = "storage-reconciler consume", "curl "


@pytest.fixture(scope="module")
def servers(stack_place, kafka):
    """Start a MinIO of our own, where a bucket may have the name that it has in the documents."""
    if stack_place.way is not Way.NATIVE:
        pytest.skip("the documents' names are taken on servers of our own alone")
    with place(Way.NATIVE) as around:
        yield around, *premises.servers(around, kafka)


@pytest.fixture
def here(tmp_path, servers, database, connection, monkeypatch):
    """Sit where whatever the examples name is there; no sweep waits long for a group that nobody is in."""
    monkeypatch.setattr("consumer.runs.metering.passed", partial(passed, patience_s=0.3))
    around, minio, kafka = servers
    with premises.premises(tmp_path, around, database, connection, minio, kafka) as made:
        yield made


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", sorted({line.page for line in RUN}))
def test_each_command_of_a_page_does_what_the_page_says(here, page):
    """One after the other as they stand, in a shell or as the shell would split them; each ends with 0."""
    lines = [line for line in RUN if line.page == page]
    assert {str(line): said for line in lines if (said := fault(here, line))} == {}


@pytest.mark.parametrize("page", ASKED)
def test_each_statement_of_a_page_is_taken_by_the_database(here, page):
    """Of whoever owns it, in one transaction where they may be in one; what is granted is granted to somebody."""
    at_once = [statement for statement in ASKED[page] if "CONCURRENTLY" in statement]
    for statement in at_once:
        here.connection.execute(statement.encode())
    with here.connection.transaction(force_rollback=True):
        for name in ("grafana", "reconciler_purger"):
            here.connection.execute(f"CREATE ROLE {name}".encode())
        for statement in ASKED[page]:
            if statement not in at_once:
                here.connection.execute(statement.encode())


def test_nothing_is_excused_that_no_document_names():
    """A reason for a line that is gone would excuse the next one that begins like it."""
    texts = [line.text for line in TYPED]
    assert [start for start in NOT_RUN if not any(text.startswith(start) for text in texts)] == []


def test_the_lines_are_found():
    """Nobody changes the way they are written unseen; none of ours is excused."""
    assert sum(line.text.startswith("storage-reconciler ") for line in RUN) > 70
    assert "storage-reconciler status" in {line.text for line in RUN if line.page == "README.md"}  # behind other fences
    assert sum(map(len, ASKED.values())) > 12


def fault(here: Premises, line: Typed) -> str:
    """Type a line; returns what it said where it did not end with 0."""
    if line.text == CONSUME:
        with here.serving(line.text):
            return ""
    if line.text.startswith(CURL):
        with here.serving(CONSUME):
            done = here.type(line.text)
    else:
        done = here.type(line.text)
    return f"{done.returncode}: {done.stdout}{done.stderr}" if done.returncode else ""
