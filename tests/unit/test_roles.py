"""The roles as they are printed: which may delete, and that deploy/roles/ holds what is printed for the example."""

import json
import shlex
from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest

from consumer.commands import roles as printed
from consumer.parsers.roles import NAMES
from consumer.roles import PREFIX, ROLES, policy, script
from reconcile.tables.grants import Level
from tests.support.command import ROOT
from tests.support.configuration import loaded

DEPLOYED = ROOT / "deploy" / "roles"
EXAMPLE = (ROOT / "examples" / "reconciler.toml").read_text("utf-8")
TRASH = '[canary]\ninterval = "1m"\n[trash]\nbucket = "bin"\n[backup]\nbucket = "copies"\nprefix = "files/"\n'


def example():
    """Return the example's settings, with a secret in the place of its file."""
    return loaded(EXAMPLE.replace("secret_key_file", "# secret_key_file"))


def allowed(document) -> Iterator[tuple[str, str]]:
    """Yield each action that a policy allows, with each resource."""
    for statement in document["Statement"]:
        for action in statement["Action"]:
            for resource in statement.get("Resource", ["*"]):
                yield action, resource.removeprefix("arn:aws:s3:::")


def may(name: str, action: str, resource: str, text: str = TRASH) -> bool:
    """Tell whether a role's policy allows this."""
    document = policy(loaded(text), ["files"], ROLES[name])
    return any(fnmatchcase(action, one) and fnmatchcase(resource, there) for one, there in allowed(document))


def test_the_parser_knows_every_role():
    """Names are written twice, so that --help is quick."""
    assert tuple(ROLES) == NAMES


def test_what_is_shipped_is_what_is_printed():
    """Nobody edits deploy/roles/ by hand: it is what the command prints for the example's configuration."""
    settings = example()
    assert (DEPLOYED / "postgresql.sql").read_text("utf-8") == script(settings)
    lines = printed.lines(settings, list(ROLES.values()), PREFIX)
    assert (DEPLOYED / "kafka-acls.sh").read_text("utf-8") == "".join(f"{line}\n" for line in lines)
    found = {file.stem: json.loads(file.read_text("utf-8")) for file in (DEPLOYED / "minio").iterdir()}
    assert found == {name: policy(settings, ["staging-storage"], one) for name, one in ROLES.items()}


@pytest.mark.parametrize("name", NAMES)
def test_only_deleter_and_restorer_may_change_an_object(name):
    """Of the application's objects; the consumer's canary has a prefix of its own, and only where it is on."""
    for action in ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObject"):
        assert may(name, action, "files/users/1") is (name in {"deleter", "restorer"})
        assert may(name, action, "files/.storage-reconciler/canary/1") is (name in {"deleter", "restorer", "consumer"})
        assert may(name, action, "files/.storage-reconciler/canary/1", "") is (name in {"deleter", "restorer"})
        assert may(name, action, "bin/.storage-reconciler/trash/1") is (name == "deleter")
        assert not may(name, action, "copies/files/1")
    assert may(name, "s3:GetObject", "copies/files/1") is (name == "restorer")
    assert may(name, "s3:PutBucketNotification", "files") is (name == "owner")


@pytest.mark.parametrize("name", NAMES)
def test_no_policy_has_a_wildcard_for_an_action(name):
    """Each action is named, so that a newer server's is not allowed unseen."""
    document = policy(loaded(TRASH), ["files"], ROLES[name])
    assert not [action for action, _ in allowed(document) if "*" in action]


def test_only_the_purger_may_delete_rows_and_only_where_a_purge_does():
    """With a status to purge to, nobody may; the owner and the reader may write nothing of the application's."""
    assert script(loaded()).count("GRANT DELETE") == 1
    mapped = {"RECONCILER_MAPPING__VERSION__STATUS": "status"}
    purged = {"RECONCILER_MAPPING__STATUS__EXPECTS_ABSENCE": "gone", "RECONCILER_MAPPING__STATUS__PURGED": "gone"}
    assert "GRANT DELETE" not in script(loaded(environ=mapped | purged))
    writers = script(loaded(environ=mapped)).count('GRANT UPDATE ("status")')
    assert writers == len([one for one in ROLES.values() if one.database >= Level.KEEP])


def test_the_acls_let_the_consumer_write_dead_letters_and_nothing_else():
    """Nobody but MinIO writes events; the group is the consumer's; findings are written where they are published."""
    lines = [shlex.split(line) for line in printed.lines(example(), list(ROLES.values()), PREFIX)]
    writing = {(line[5], line[-1]) for line in lines if "Write" in line}
    assert writing == {("User:minio", "minio-events"), (f"User:{PREFIX}consumer", "minio-events.dead-letter")}
    settings = loaded("[stream]\npublish_findings = true\n")
    published = [shlex.split(line) for line in printed.lines(settings, [ROLES["consumer"]], PREFIX)]
    assert ("--topic", "minio-events.findings") in {tuple(line[-2:]) for line in published if "Write" in line}
