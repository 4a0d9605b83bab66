"""`doctor` over real MinIO servers, well set up and not: each check in its bad case."""

from __future__ import annotations

import json
import re
import secrets
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path

import pytest
from minio.commonconfig import ENABLED, Filter, Tag
from minio.credentials import StaticProvider
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule
from minio.minioadmin import MinioAdmin
from minio.notificationconfig import NotificationConfig, QueueConfig
from minio.versioningconfig import VersioningConfig

from consumer.doctor.check import Mark
from consumer.duties import rulewatch
from consumer.duties.canary import DURABLE
from consumer.duties.duty import do_one
from consumer.duties.silence import Causes
from deploy.local import minio as minios
from deploy.local.place import Place, Way
from reconcile.store.eventrules import EVENTS
from tests.support import consuming, storage
from tests.support.command import MAPPING
from tests.support.examining import one, settings, told
from tests.support.foreign import foreign
from tests.support.proxy import FORBIDDEN, Proxy

READS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": ["arn:aws:s3:::*"]}],
}


def over(database, server, bucket, /, **changed):
    """Return settings over a bucket of MinIO's, and whatever else is given."""
    sections = {name: value for name, value in changed.items() if isinstance(value, dict) and name != "minio"}
    named = {
        "endpoint": server.url,
        "access_key": server.user,
        "secret_key": server.password,
        **changed.get("minio", {}),
    }
    kafka = {"bootstrap.servers": "127.0.0.1:1"}
    made = settings(database, minio=named, kafka=kafka, **sections)
    object.__setattr__(made.mapping.bucket, "name", bucket)
    return made


def rule(minio, bucket, *queues):
    """Replace a bucket's event rules."""
    storage.client(minio).set_bucket_notification(
        bucket_name=bucket, config=NotificationConfig(queue_config_list=list(queues))
    )


def stranger_of(server):
    """Make a user without rights; return who can give it some, its name and its word."""
    who = StaticProvider(server.user, server.password)
    admin = MinioAdmin(endpoint=server.endpoint, credentials=who, secure=server.secure)
    name, word = f"user-{secrets.token_hex(4)}", secrets.token_hex(8)
    admin.user_add(name, word)
    return admin, name, word


def may_only_read(server):
    """Make a user that may list and read, and return its keys."""
    admin, name, word = stranger_of(server)
    admin.policy_add(name, policy=READS)
    admin.policy_set(name, user=name)
    return {"access_key": name, "secret_key": word}


def test_all_is_well_with_the_stack(database, minio, bucket):
    """A queue on disk, synchronous events, all rules, clocks that agree, no lifecycle."""
    rule(minio, bucket, QueueConfig(events=list(EVENTS), queue=minio.arn))
    checks = told(over(database, minio, bucket))
    marks = {name: {check.mark for check in found} for name, found in checks.items() if name.startswith("minio")}
    assert all(found == {Mark.OK} for found in marks.values()), checks
    assert len(marks) == 9


def test_minio_away_or_with_other_keys_is_one_fault(database, minio, bucket):
    """What needs it is not checked."""
    for changed, told_of in (
        ({"endpoint": "http://127.0.0.1:1"}, "correct minio.endpoint"),
        ({"secret_key": "wrong-word"}, "correct minio.access_key and minio.secret_key"),
        ({"access_key": "nobody"}, "correct minio.access_key and minio.secret_key"),
    ):
        checks = told(over(database, minio, bucket, minio=changed), "minio.rules", "minio.target")
        [reached] = checks["minio"]
        assert (reached.mark, told_of in reached.fix) == (Mark.BAD, True)
        assert "wrong-word" not in str(checks)
        assert {check.mark for name in ("minio.rules", "minio.target") for check in checks[name]} == {Mark.UNSEEN}


def test_a_certificate_that_names_another_host_is_told_as_that(tmp_path, database, minio, bucket):
    """Neither "away" nor "wrong password": the name, and where the CA is missing, the CA."""
    with foreign(tmp_path, "elsewhere.test") as (port, ca):
        moved = {"endpoint": f"https://127.0.0.1:{port}", "ca_file": str(ca)}
        reached = one(over(database, minio, bucket, minio=moved), "minio")
        assert (reached.mark, "subjectAltName" in reached.fix) == (Mark.BAD, True), reached
    with foreign(tmp_path, "localhost") as (port, _):
        unknown = one(over(database, minio, bucket, minio={"endpoint": f"https://localhost:{port}"}), "minio")
        assert (unknown.mark, "minio.ca_file" in unknown.fix) == (Mark.BAD, True), unknown


def test_a_bucket_that_is_not_there_or_not_to_be_read(database, minio, bucket):
    """Each with its own way out; a role that may only read sees what it may."""
    missing = one(over(database, minio, "no-such-bucket"), "minio.buckets")
    assert (missing.mark, "mc mb ALIAS/no-such-bucket" in missing.fix) == (Mark.BAD, True)
    admin, name, word = stranger_of(minio)
    stranger = over(database, minio, bucket, minio={"access_key": name, "secret_key": word})
    assert "s3:ListBucket" in one(stranger, "minio.buckets").fix
    admin.policy_add(name, policy=READS)
    admin.policy_set(name, user=name)
    unread = ("minio.versioning", "minio.lifecycle", "minio.rules", "minio.target", "minio.sync_events")
    checks = told(stranger, "minio.buckets", *unread)
    assert [check.mark for check in checks["minio.buckets"]] == [Mark.OK]
    for unseen in unread:
        [check] = checks[unseen]
        assert (check.mark, bool(check.fix)) == (Mark.UNSEEN, True)
    admin.policy_add(name, policy=json.loads(json.dumps(READS).replace(', "s3:GetObject"', "")))
    assert "s3:GetObject" in one(stranger, "minio.buckets").fix


def test_rules_that_are_missing_narrowed_or_too_many(database, minio, bucket):
    """No rule, some events, and the events of our own looking."""
    wanted = over(database, minio, bucket)
    rule(minio, bucket)
    found = one(wanted, "minio.rules")
    assert (found.mark, "removed" in found.found, f"--bucket {bucket} --apply" in found.fix) == (Mark.BAD, True, True)
    rule(minio, bucket, QueueConfig(events=["s3:ObjectCreated:*"], queue=minio.arn))
    assert "narrowed: no rule sends s3:ObjectRemoved:*" in one(wanted, "minio.rules").found
    rule(minio, bucket, QueueConfig(events=[*EVENTS, "s3:ObjectAccessed:Head"], queue=minio.arn))
    found = one(wanted, "minio.rules")
    assert (found.mark, "ObjectAccessed" in found.found) == (Mark.BAD, True)
    other = one(over(database, minio, bucket, stream={"topic": "another"}), "minio.target")
    assert (other.mark, "no target sends to 'another'" in other.found) == (Mark.BAD, True)


def test_versions_that_the_mapping_and_the_bucket_see_differently(database, connection, minio, objects, bucket):
    """Both ways round."""
    connection.execute("ALTER TABLE file_versions ADD s3_version_id text")
    plain, mapped = over(database, minio, bucket), over(database, minio, bucket)
    object.__setattr__(mapped.mapping.version, "s3_version", "s3_version_id")
    assert one(mapped, "minio.versioning").mark is Mark.BAD
    objects.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(ENABLED))
    assert one(mapped, "minio.versioning").mark is Mark.OK
    assert one(plain, "minio.versioning").mark is Mark.WARN


def test_a_lifecycle_rule_that_expires_what_rows_name(database, minio, objects, bucket):
    """One below what is not watched is none of ours, nor one that is off."""

    def expire(**rule):
        given = {"status": ENABLED, "rule_id": "old", "expiration": Expiration(days=30)} | rule
        objects.set_bucket_lifecycle(bucket_name=bucket, config=LifecycleConfig([Rule(**given)]))

    expire(rule_filter=Filter(prefix="tmp/"))
    found = one(over(database, minio, bucket), "minio.lifecycle")
    assert (found.mark, "'tmp/'" in found.found) == (Mark.BAD, True)
    assert "mc ilm rule remove --id 'old'" in found.fix
    exclude = re.search(r"exclude = (\[.*\])", found.fix)[1]
    excluded = over(database, minio, bucket, filters={"exclude": json.loads(exclude)})
    assert one(excluded, "minio.lifecycle").mark is Mark.OK
    expire(rule_filter=Filter(tag=Tag("kind", "scratch")))
    assert one(over(database, minio, bucket), "minio.lifecycle").mark is Mark.WARN
    expire(rule_filter=Filter(prefix=""), status="Disabled")
    assert one(over(database, minio, bucket), "minio.lifecycle").mark is Mark.OK


def test_figures_that_may_not_be_read(database, minio, bucket):
    """Two of the losses that are watched for would never be noticed, and nobody would know."""
    assert one(over(database, minio, bucket), "minio.figures").mark is Mark.OK
    host, _, port = minio.endpoint.partition(":")
    with Proxy(host, int(port)) as between:
        between.set(replace(FORBIDDEN, method="GET /minio/"))
        refused = one(over(database, minio, bucket, minio={"endpoint": between.url}), "minio.figures")
    assert (refused.mark, "admin:Prometheus" in refused.fix) == (Mark.WARN, True)


class Late(Proxy):
    """Sets the Date of each answer back."""

    def _hand_on(self, chunk, source, target, *, asking):
        if not asking:
            chunk = re.sub(rb"(?<=\r\nDate: )[^\r]+", self.earlier, chunk)
        super()._hand_on(chunk, source, target, asking=asking)

    def earlier(self, date):
        """Return the date ten minutes before."""
        at = parsedate_to_datetime(date[0].decode()) - timedelta(minutes=10)
        return format_datetime(at, usegmt=True).encode()


def test_a_clock_that_is_ten_minutes_off(database, minio, bucket):
    """Five minutes before MinIO refuses what we sign, somebody should know."""
    host, _, port = minio.endpoint.partition(":")
    with Late(host, int(port)) as late:
        ours, here = told(over(database, minio, bucket, minio={"endpoint": late.url}), "minio.clock")["minio.clock"]
    assert (ours.mark, here.mark) == (Mark.BAD, Mark.OK)
    assert int(re.search(r"(\d+) s apart", ours.found)[1]) in range(595, 602)


@pytest.fixture(scope="module")
def trap(stack_place, kafka):
    """Start a MinIO with two targets, one without a queue and to another topic, and events that wait in memory."""
    if stack_place.way is Way.ENVIRONMENT:
        pytest.skip("servers that are named by the environment are not configured here")
    usual = minios.settings

    def two(*words):
        given = usual(*words) | {"MINIO_API_SYNC_EVENTS": "off"}
        second = {name.replace("RECON", "QUICK"): value for name, value in given.items() if "QUEUE_DIR" not in name}
        return given | second | {"MINIO_NOTIFY_KAFKA_TOPIC_QUICK": "elsewhere"}

    with tempfile.TemporaryDirectory(prefix="reconciler-doctor-") as directory, ExitStack() as exits:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(minios, "settings", two)
            place = Place(Path(directory), exits, stack_place.way, stack_place.network)
            server = minios.find_or_start(place, kafka)
        yield server


def test_two_targets_of_which_one_has_no_queue(database, trap):
    """It looks quick, and holds back the one that keeps everything."""
    bucket = storage.new_bucket(trap, list(EVENTS))
    wanted = over(database, trap, bucket)
    queue, both = told(wanted, "minio.target")["minio.target"]
    assert (queue.mark, "MINIO_NOTIFY_KAFKA_QUEUE_DIR_QUICK" in queue.fix) == (Mark.BAD, True)
    assert (both.mark, "2 Kafka targets (QUICK, RECON)" in both.found) == (Mark.BAD, True)
    assert one(wanted, "minio.sync_events").mark is Mark.WARN
    quick = trap.arn.replace("RECON", "QUICK")
    rule(trap, bucket, *(QueueConfig(events=list(EVENTS), queue=arn) for arn in (trap.arn, quick)))
    assert "go to 2 Kafka targets" in one(wanted, "minio.rules").found
    reader = over(database, trap, bucket, minio=may_only_read(trap))
    seen, hidden = told(reader, "minio.target")["minio.target"]
    assert (seen.mark, "2 Kafka targets" in seen.found, hidden.mark) == (Mark.WARN, True, Mark.UNSEEN)


def test_a_rule_to_another_target_is_none_of_ours(tmp_path, database, trap, kafka):
    """MinIO's own configuration tells it, the settings do, or what `init` named, which outlives the history."""
    bucket, quick = storage.new_bucket(trap), trap.arn.replace("RECON", "QUICK")
    with (
        consuming.superuser_site(tmp_path, database, trap, kafka.bootstrap, kafka.topic, bucket) as site,
        ExitStack() as exits,
    ):
        world = consuming.world(site.settings(), exits, "one")

        def watched() -> tuple[str, str]:
            do_one(world, rulewatch.duty(world.objects, [bucket]), lambda *_: True)
            one = rulewatch.read(site.sql("SELECT checkpoint FROM reconciler.lease WHERE task = 'duty rules'")[0][0])[
                bucket
            ]
            return one.state, one.arn

        rule(trap, bucket, QueueConfig(events=list(EVENTS), queue=quick))
        assert watched() == ("whole", ""), "nobody said which is ours"
        rules = one(over(database, trap, bucket), "minio.rules")
        assert (rules.mark, "a target that sends to our topic" in rules.found) == (Mark.BAD, True)
        rule(trap, bucket)
        site.program.json("init", "--only", "bucket", "--bucket", bucket, "--arn", trap.arn, "--apply")
        assert watched() == ("whole", trap.arn)
        rule(trap, bucket, QueueConfig(events=list(EVENTS), queue=quick))
        site.sql("DELETE FROM reconciler.history")
        assert watched() == ("removed", trap.arn)
        causes = Causes(world.objects, world.database, site.topic, site.kafka)
        assert trap.arn in causes.of(bucket, DURABLE)[1]
        site.sql("DELETE FROM reconciler.lease")
        assert causes.of(bucket, DURABLE)[0] != "rule_removed"
        assert replace(causes, arn=trap.arn).of(bucket, DURABLE)[0] == "rule_removed"


def test_buckets_that_only_rows_name(database, connection, minio, bucket):
    """Without a row there is nothing to look at, which is told."""
    mapping = MAPPING.format(bucket="").replace('name = ""', 'column = "file.bucket_type"')
    named = {"endpoint": minio.url, "access_key": minio.user, "secret_key": minio.password}
    wanted = settings(database, mapping, minio=named)
    assert one(wanted, "minio.buckets").mark is Mark.BAD
    assert one(wanted, "mapping.reading").mark is Mark.WARN
    connection.execute(
        "WITH f AS (INSERT INTO storage_files (bucket_type) VALUES (%s) RETURNING id)"
        " INSERT INTO file_versions (file_id, version_number, object_key) SELECT id, 1, 'a' FROM f",
        [bucket],
    )
    assert one(wanted, "minio.buckets") == (Mark.OK, f"{bucket}: may be listed and read", "")
