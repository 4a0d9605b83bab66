"""Every command that asks a server, under the role that suffices for it and under the one below, which does not."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from consumer.cli import build_parser
from consumer.roles import ROLES
from tests.support import admitting, appointed, databases
from tests.support.appointed import FINDINGS, NOBODY, Appointed, Made
from tests.support.overheard import parsers

BELOW = dict.fromkeys(ROLES, "consumer") | {"reader": NOBODY, "consumer": "reader"}
SELECT, SQL, SCHEMA = "GRANT SELECT", "roles sql", "to be written"  # what a refusal names: of PostgreSQL,
ACLS, DENIED = "roles acls", "AccessDenied"  # of Kafka, of MinIO
ATTEMPT = ("finding", "history", "lease", "look")  # where is kept that MinIO is asked, before it is
Given = Callable[[Appointed], Made]
Then = Callable[[Appointed, Made], object]


def unchanged(_: Appointed, __: Made) -> bool:
    """Expect nothing: that nothing was changed is seen by the test."""
    return True


def holds(query: str) -> Then:
    """Return what expects a query to answer that it is so."""
    return lambda world, made: world.value(f"SELECT {query.format_map(made)}")


def is_(state: str) -> Then:
    """Return what expects the finding in a state."""
    return holds(f"state = '{state}' FROM reconciler.finding WHERE id = {{id}}")


def status(word: str) -> Then:
    """Return what expects the version to have a status."""
    return holds(f"status = '{word}' FROM file_versions WHERE id = '{{version}}'")


def kept(what: str) -> Then:
    """Return what expects something in our schema."""
    return holds(f"EXISTS (SELECT FROM reconciler.{what})")


def is_back(world: Appointed, made: Made) -> bool:
    """Expect the object."""
    return made["key"] in world.office.listed()


def is_ready(world: Appointed, _: Made) -> bool:
    """Expect the event rule and every topic."""
    return world.rules() == 1 and FINDINGS in world.topics()


LIFTED = holds("lifted_at IS NOT NULL FROM reconciler.restraint WHERE id = {id}")
RELEASED = holds("bool_and(lifted_at IS NOT NULL) FROM reconciler.restraint WHERE effect = 'brake'")
GIVEN_UP = holds("NOT EXISTS (SELECT FROM file_versions WHERE id = '{version}')")


@dataclass(frozen=True)
class Case:
    """One command: the role that suffices, what the one below is told, what it begins with, what it comes to."""

    role: str
    words: str
    lacks: str = SQL
    given: Given = appointed.bucket
    then: Then = unchanged
    status: int = 2


TABLE = [
    Case("reader", "config check", SELECT),
    Case("reader", "config generate", SELECT),
    Case("reader", "doctor", SELECT),
    Case("reader", "explain {key}", SELECT, appointed.gone),
    Case("reader", "sweep", SELECT, appointed.gone),
    Case("reader", "status"),
    Case("reader", "report"),
    Case("reader", "brake status"),
    Case("reader", "suppress list"),
    Case("reader", "findings list"),
    Case("reader", "findings show {id}", SQL, appointed.orphan),
    Case("reader", "findings rules list"),
    Case("reader", "orphans list", SELECT),
    Case("reader", "orphans show {id}", SELECT, appointed.orphan),
    Case("reader", "purge {id} --older-than 30d", SELECT, appointed.superseded),
    Case("reader", "dead-letters list", SQL, appointed.letter),
    Case("reader", "dead-letters show {id}", SQL, appointed.letter),
    Case(
        "consumer", "findings note {id} --why noted --apply", SQL, appointed.orphan,
        kept("history WHERE finding_id = {id} AND why = 'noted'"),
    ),
    Case("consumer", "findings ignore {id} --apply", SQL, appointed.orphan, is_("ignored")),
    Case(
        "consumer", "findings ignore --prefix {key} --until 1h --why x --apply", SQL, appointed.bucket,
        kept("restraint WHERE effect = 'ignore' AND pattern LIKE '%{key}%'"),
    ),
    Case("consumer", "findings reopen {id} --apply", SQL, appointed.ignored, is_("suspected")),
    Case("consumer", "findings rules lift {id} --apply", SQL, appointed.rule, LIFTED),
    Case(
        "consumer", "findings adopt {version} --status active --apply", SQL, appointed.foreign,
        kept("finding WHERE row_id = '{version}' AND previous_status = 'active'"),
    ),
    Case("consumer", "orphans approve {id} --apply", SQL, appointed.orphan, is_("approved")),
    Case(
        "consumer", "suppress add --bucket {bucket} --prefix {key} --until 1h --why x --apply", SQL, appointed.bucket,
        kept("restraint WHERE effect = 'suppress' AND pattern LIKE '%{key}%'"),
    ),
    Case("consumer", "suppress lift {id} --apply", SQL, appointed.window, LIFTED),
    Case("consumer", "brake release --apply", SQL, appointed.brake, RELEASED),
    Case("consumer", "replay --from earliest", ACLS, appointed.gone, status("active")),
    Case("consumer", "replay --from earliest --apply", ACLS, appointed.gone, status("corrupted")),
    Case("consumer", "dead-letters replay {id} --apply", SQL, appointed.letter, status("corrupted")),
    Case(
        "consumer", "dead-letters discard {id} --apply", SQL, appointed.letter,
        kept("history WHERE act = 'dead letter discarded' AND subject LIKE '%/{id} of %'"),
    ),
    Case("consumer", "scrub", SCHEMA, appointed.unread, kept("sweep WHERE kind = 'scrub' AND mode = 'report'")),
    Case("consumer", "scrub --fix", SCHEMA, appointed.unread, kept("finding WHERE state = 'open' AND key = '{key}'")),
    Case("consumer", "sweep --fix", SCHEMA, appointed.gone, status("corrupted")),
    Case(
        "consumer", "sweep --baseline", SCHEMA, appointed.gone,
        kept("finding WHERE state = 'ignored' AND key = '{key}'"),
    ),
    Case("purger", "purge {id} --older-than 30d --apply", "GRANT DELETE", appointed.superseded, GIVEN_UP),
    Case("restorer", "restore {id} --apply", DENIED, appointed.hidden, status("active"), 5),
    Case("deleter", "orphans delete {id} --apply", DENIED, appointed.approved, is_("deleted"), 5),
    Case("deleter", "orphans undo {id} --apply", DENIED, appointed.deleted, is_back),
    Case("owner", "migrate --apply", SQL, appointed.without_schema, kept("migration")),
    Case("owner", "init --apply", ACLS, appointed.without_rule, is_ready),
    Case("owner", "uninstall --apply", DENIED, appointed.install, holds("to_regnamespace('reconciler') IS NULL")),
]  # fmt: skip  # uninstall is the last: it drops the grants of our schema, too
EXCEPTIONS = {
    "config show": "asks no server",
    "roles list": "asks no server",
    "roles sql": "asks no server",
    "roles policy": "asks no server",
    "roles acls": "asks no server",
    "metrics": "asks no server",
    "version": "asks no server",
    "completion": "asks no server",
    "consume": "ends when it is told to: test_roles.py and test_roles_kafka.py run it as consumer and as reader",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory, stack_place, postgres, template_database, minio) -> Iterator[Appointed]:
    """Make one application for all cases, each of which acts on what is its own."""
    with (
        admitting.broker(stack_place, appointed.USERS) as (broker, secure),
        databases.new_database(postgres, template_database) as url,
        appointed.appointed(tmp_path_factory.mktemp("roles"), url, minio, broker, secure) as made,
    ):
        yield made


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.words)
def test_the_role_suffices_and_the_one_below_does_not(world, case):
    """Below its role a command says what lacks and leaves all three servers as they were; under it, it is done."""
    made = case.given(world)
    words = shlex.split(case.words.format_map(made))
    before = world.state()
    refused = world.role(BELOW[case.role]).run(*words)
    after = world.state()
    assert (refused.returncode, case.lacks in refused.stdout + refused.stderr) == (case.status, True), refused
    ours = ATTEMPT if case.lacks == DENIED else ()
    assert [one for one in before.items() if one[0] not in ours] == [one for one in after.items() if one[0] not in ours]
    done = world.role(case.role).run(*words)
    assert done.returncode == 0, done
    assert case.then(world, made)
    assert case.role != "reader" or world.state() == before


def test_no_command_is_forgotten():
    """Each command of the parser has a line in the table, or is an exception with its reason."""
    there = {one.prog.partition(" ")[2] for one in parsers(build_parser()) if one.get_default("run")}
    shown = {max((one for one in there if f"{case.words} ".startswith(f"{one} ")), key=len) for case in TABLE}
    assert shown | EXCEPTIONS.keys() == there
    assert not shown & EXCEPTIONS.keys()
