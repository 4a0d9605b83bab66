"""What refuses a repair, on real servers: a disk without room ends it, one key that may not be written ends nothing."""

import json
import secrets
from contextlib import contextmanager

import pytest
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin

from tests.support import command
from tests.support.orphans import Office
from tests.support.proxy import FULL, Pass, Proxy
from tests.support.repairing import repairing

ROOM = "HTTP 507 XMinioStorageFull; make room"


@pytest.fixture
def app(tmp_path, database, minio, bucket, connection, objects):
    """Give the application with our schema made, and no grace."""
    made = command.program(tmp_path, database, minio, bucket, {})
    made.environ["RECONCILER_POLICY__ORPHAN_GRACE"] = "0s"
    return repairing(made, connection, objects, bucket)


@pytest.fixture
def between(app, minio):
    """Stand between the commands and MinIO."""
    host, _, port = minio.endpoint.partition(":")
    with Proxy(host, int(port)) as made:
        app.program.environ["RECONCILER_MINIO__ENDPOINT"] = made.url
        yield made


@contextmanager
def clerk(app, minio, denied):
    """Let the commands run as a user who may do all but write one key."""
    provider, name, word = StaticProvider(minio.user, minio.password), f"clerk-{secrets.token_hex(4)}", "clerks-secret"
    admin = MinioAdmin(endpoint=minio.endpoint, credentials=provider, secure=minio.secure)
    admin.user_add(name, word)
    there = f"arn:aws:s3:::{app.bucket}"
    may = {"Effect": "Allow", "Action": ["s3:*"], "Resource": [there, f"{there}/*"]}
    no = {"Effect": "Deny", "Action": ["s3:PutObject", "s3:DeleteObjectVersion"], "Resource": [f"{there}/{denied}"]}
    admin.policy_add(name, policy={"Version": "2012-10-17", "Statement": [may, no]})
    admin.attach_policy([name], user=name)
    app.program.environ.update(RECONCILER_MINIO__ACCESS_KEY=name, RECONCILER_MINIO__SECRET_KEY=word)
    yield
    admin.user_remove(name)
    admin.policy_remove(name)


def test_a_full_disk_ends_a_deletion_and_the_next_one_goes_on(app, between):
    """No copy can be made of any: that is told once, as an outage is, and nothing is gone."""
    office = Office(app.program, app.connection, app.objects, app.bucket)
    office.approve(*office.find({"a": b"AAA", "b": b"AAA", "c": b"AAA"}))
    words = ("orphans", "delete", "--unversioned", app.bucket, "--apply")
    between.set(FULL)
    ended = app.program.run(*words, "-o", "json")
    assert (ended.returncode, ROOM in ended.stderr) == (6, True)
    assert json.loads(ended.stdout)["done"] == 0
    assert (office.states(), office.listed()) == ({"approved": 3}, ["a", "b", "c"])
    between.set(Pass())
    assert app.program.json(*words)["done"] == 3


def test_a_full_disk_ends_a_restore_and_the_next_one_goes_on(app, between):
    """What was tried broke off, and nothing else is."""
    for key in ("a", "b"):
        app.flagged(key)
        app.put(f"backup/{key}")
    words = ("restore", "--all", "--from", f"{app.bucket}/backup/", "--apply")
    between.set(FULL)
    ended = app.program.run(*words, "-o", "json")
    assert (ended.returncode, ROOM in ended.stderr) == (6, True)
    assert [act["detail"].partition(";")[0] for act in json.loads(ended.stdout)["acts"]] == [
        "it broke off",
        "not tried",
    ]
    between.set(Pass())
    assert app.program.json(*words)["done"] == 2


@pytest.mark.parametrize("versioned", [True, False], ids=["marker", "backup"])
def test_a_key_that_may_not_be_written_keeps_no_other_from_coming_back(app, minio, versioned):
    """It is told with what MinIO said; the status is that of what is not complete."""
    if versioned:
        app.keep_versions()
    for key in ("a", "b"):
        app.flagged(key)
        app.put(key if versioned else f"backup/{key}")
        if versioned:
            app.hide(key)
    source = () if versioned else ("--from", f"{app.bucket}/backup/")
    with clerk(app, minio, "a"):
        ended = app.program.run("restore", "--all", *source, "--apply", "-o", "json")
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["done"], told["left_alone"]) == (5, 1, 1)
    assert "AccessDenied" in told["acts"][1]["detail"]
    assert app.statuses() == {"a": "corrupted", "b": "active"}
