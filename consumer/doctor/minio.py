"""The checks of MinIO: reached, its buckets readable, its rules, targets and lifecycle, and its clock.

What only its operator may ask (the targets' configuration) is asked, and where it is refused, said to be looked up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from consumer.doctor.check import Check, bad, ok, unseen, warn
from consumer.doctor.checked import KEYS, Checked
from consumer.duties import clock, rulewatch
from consumer.duties.passed import figures_of_store
from reconcile import inquiry
from reconcile.config.filters import OURS, watched
from reconcile.model import Misconfigured, ObjectRef, Unavailable, Unknown
from reconcile.store import administration, bucketrules
from reconcile.store.eventrules import KAFKA, covers, lacking, state, target_name
from reconcile.store.targets import Target, is_synchronous, targets

PROBE = f"{OURS}doctor"
ACCESSED = "s3:ObjectAccessed:*"
KEYS_REFUSED = ("InvalidAccessKeyId", "SignatureDoesNotMatch")
SKEWED = "RequestTimeTooSkewed"
PLAIN_ON_TLS = "HTTP 400"  # without a word of MinIO's own: Go's server has answered
SKEW_S, SKEW_MOST_S = 5.0, 300.0  # what is told, and what is a third of the 15 minutes from which MinIO refuses
NTP = "let NTP set the clock of every machine: timedatectl set-ntp true"
NOT_ALLOWED = "MinIO tells its configuration to its operator only"
LOOK = "mc admin config get ALIAS notify_kafka; mc admin config get ALIAS api"


def reached(checked: Checked) -> Iterator[Check]:
    """Tell whether the server answers, and whether it knows our keys; raises Unavailable."""
    why = checked.store.probe(next(iter(checked.buckets_known()), "storage-reconciler")) or ""
    if any(code in why for code in KEYS_REFUSED):
        yield bad(f"MinIO answers {why}", "correct minio.access_key and minio.secret_key")
    elif why == PLAIN_ON_TLS:
        yield bad(f"MinIO answers {why}, as to one who speaks no TLS where it does", f"see {KEYS['minio']['tls']}")
    elif SKEWED in why:
        yield bad(f"MinIO answers {why}: its clock and ours are 15 minutes apart", NTP)
    else:
        yield ok(f"{checked.settings.minio.endpoint} answers, and knows the access key")


def buckets(checked: Checked) -> Iterator[Check]:
    """Tell whether each bucket is there, and may be listed and read."""
    for bucket in checked.buckets():
        try:
            yield _readable(checked, bucket)
        except Misconfigured as refusal:
            yield bad(f"{bucket}: may not be listed ({refusal.faults[0]})", _policy("s3:ListBucket", bucket))
    if not checked.buckets():
        yield bad("no bucket is named, and no live row names one", "set mapping.bucket.name")


def _readable(checked: Checked, bucket: str) -> Check:
    """Tell whether a bucket is there and may be read; raises Misconfigured where it may not be listed."""
    if not checked.store.bucket_exists(bucket):
        return bad(f"{bucket}: there is no such bucket", f"mc mb ALIAS/{bucket}, or correct [mapping.bucket]")
    checked.store.page(bucket, [("list-type", "2"), ("max-keys", "1")])
    ref = ObjectRef(bucket, PROBE)
    seen = checked.store.heads([ref], checked.store.server.timeout_s)[ref]
    match seen:
        case Unknown(reason):
            return bad(f"{bucket}: an object may not be asked for ({reason})", _policy("s3:GetObject", f"{bucket}/*"))
        case _:
            return ok(f"{bucket}: may be listed and read")


def _policy(action: str, resource: str) -> str:
    return f"let the access key's policy allow {action} on arn:aws:s3:::{resource}"


def _unread(bucket: str, what: str, refusal: Misconfigured, action: str) -> Check:
    """Return that this may not be read, which a sweep does not need."""
    return unseen(f"{bucket}: its {what} may not be read ({refusal})", _policy(action, bucket))


def rules(checked: Checked) -> Iterator[Check]:
    """Tell whether each bucket's events are sent to Kafka, all of them, once, and no more than is wanted."""
    feeding = _feeding(checked)
    for bucket in checked.buckets():
        try:
            found = bucketrules.event_rules(checked.store, bucket)
        except Misconfigured as refusal:
            fix = f"mc event list ALIAS/{bucket}, or {_policy('s3:GetBucketNotification', bucket)}"
            yield unseen(f"{bucket}: its event rules may not be read ({refusal})", fix)
            continue
        ours = [rule for rule in found if rule.target.endswith(KAFKA)]
        told: list[Check] = []
        arn = checked.settings.stream.arn or _arn_known(checked, bucket)
        reaching = [rule for rule in found if not feeding or target_name(rule.target) in feeding]
        if absent := lacking(reaching, arn=arn):
            fix = f"storage-reconciler init --only bucket --bucket {bucket}{f' --arn {arn}' if arn else ''} --apply"
            meant = arn or ("a target that sends to our topic" if feeding else "Kafka")
            how = f"{state(reaching, arn=arn)}: no rule sends {', '.join(absent)} of every key to {meant}"
            told.append(bad(f"{bucket}: {how}", fix))
        loud = [rule for rule in ours if any(covers(ACCESSED, one) or covers(one, ACCESSED) for one in rule.events)]
        if loud:
            arn = loud[0].target
            fix = f"mc event remove ALIAS/{bucket} {arn} --event get, and init --only bucket --apply"
            told.append(bad(f"{bucket}: {ACCESSED} is sent, too: each object that we look at is told as an event", fix))
        names = sorted({rule.target for rule in ours})
        if len(names) > 1:
            fix = f"mc event remove ALIAS/{bucket} {names[-1]}"
            told.append(warn(f"{bucket}: its events go to {len(names)} Kafka targets: {', '.join(names)}", fix))
        yield from told or [ok(f"{bucket}: every event that is wanted is sent to {', '.join(names)}")]


def _feeding(checked: Checked) -> frozenset[str]:
    """Return the names of the targets that send to our topic; none where MinIO does not tell, or none does."""
    topic = checked.settings.stream.topic
    return frozenset(one.name for one in _targets(checked) or () if one.topic == topic)


def _arn_known(checked: Checked, bucket: str) -> str:
    """Return the target that `init` named, or the rules are watched for, `''` before our schema is there."""
    try:
        with checked.reading() as connection, inquiry.explaining():
            return rulewatch.known(connection, bucket)
    except (Misconfigured, Unavailable):
        return ""


def target(checked: Checked) -> Iterator[Check]:
    """Tell whether each target keeps events on disk while the broker is away, and one sends to our topic."""
    found = _targets(checked)
    if found is None:
        yield from _from_outside(checked)
        return
    topic = checked.settings.stream.topic
    without = [one for one in found if not one.queue_dir]
    yield from (_without_queue(one) for one in without)
    if without and len(found) > 1:
        names = ", ".join(one.name for one in found)
        yield bad(
            f"{len(found)} Kafka targets ({names}), not all with a queue: while the broker is away the one without"
            " holds back the other, and a crash then loses what waits in memory",
            "leave one target, with MINIO_NOTIFY_KAFKA_QUEUE_DIR_<NAME>; the express lane is what makes it quick",
        )
    for one in found:
        if one.batches:
            fix = f"MINIO_NOTIFY_KAFKA_BATCH_SIZE_{one.name}=0"
            yield warn(f"{one.name}: events wait in memory to be stored by {one.batch_size}", fix)
    if not found:
        yield bad("MinIO has no Kafka target", "storage-reconciler init --only bucket prints the lines for MinIO")
    elif topic not in {one.topic for one in found}:
        told = ", ".join(f"{one.name} to {one.topic!r}" for one in found)
        yield bad(f"no target sends to {topic!r}: {told}", "correct stream.topic, or MinIO's target")
    elif not without:
        yield ok(f"{', '.join(one.name for one in found)}: with a queue on disk, to {topic!r}")


def _without_queue(one: Target) -> Check:
    name = "" if one.name == "_" else f"_{one.name}"
    fix = f"MINIO_NOTIFY_KAFKA_QUEUE_DIR{name}=/a/durable/directory on every node, and a restart"
    return bad(f"{one.name}: without a queue on disk; what happens while the broker is away is lost", fix)


def _targets(checked: Checked) -> Sequence[Target] | None:
    try:
        return targets(administration.configuration(checked.store.server, "notify_kafka"))
    except Misconfigured:
        return None


def _from_outside(checked: Checked) -> Iterator[Check]:
    """Tell of the targets what MinIO's metrics show."""
    try:
        names = sorted({queue.target for queue in figures_of_store(checked.store).queues})
    except Misconfigured:
        yield unseen(f"{NOT_ALLOWED}, and its metrics not to us", LOOK)
        return
    if not names:
        yield bad("MinIO has no Kafka target", "storage-reconciler init --only bucket prints the lines for MinIO")
        return
    if len(names) > 1:
        told = f"{len(names)} Kafka targets ({', '.join(names)}): if one has no queue on disk it holds back the others"
        yield warn(told, "leave one target, with MINIO_NOTIFY_KAFKA_QUEUE_DIR_<NAME>")
    yield unseen(f"{', '.join(names)}: whether with a queue on disk is not to be seen; {NOT_ALLOWED}", LOOK)


def sync_events(checked: Checked) -> Iterator[Check]:
    """Tell whether an event is stored before the request that caused it ends."""
    try:
        text = administration.configuration(checked.store.server, "api")
    except Misconfigured:
        yield unseen(f"not to be seen; {NOT_ALLOWED}", "check MINIO_API_SYNC_EVENTS=on in MinIO's environment")
        return
    if is_synchronous(text):
        yield ok("an event is stored before its request ends")
    else:
        fix = "MINIO_API_SYNC_EVENTS=on on every node, or mc admin config set ALIAS api sync_events=on"
        yield warn("events wait in memory: a crash of MinIO loses them", fix)


def figures(checked: Checked) -> Iterator[Check]:
    """Tell whether MinIO shows its own figures, by which its restarts, and events that it lost, are noticed."""
    try:
        figures_of_store(checked.store)
    except Misconfigured as refusal:
        found = (
            f"MinIO's figures may not be read ({refusal.faults[0]}): no restart, and no event that it lost, is noticed"
        )
        yield warn(found, "let the access key's policy allow admin:Prometheus")
    else:
        yield ok("MinIO's figures are read: its restarts, and events that it lost, are noticed")


def clocks(checked: Checked) -> Iterator[Check]:
    """Tell how far MinIO's clock, and this machine's, are from PostgreSQL's, by which graces are measured."""
    bucket = next(iter(checked.buckets()))
    with checked.reading() as connection:
        sent = inquiry.clock(connection).timestamp()
        date = checked.store.date(bucket)
        here = datetime.now(UTC).timestamp()  # noqa: TID251 - the shell is where the time comes in
        got = inquiry.clock(connection).timestamp()
    minio = clock.told(date, sent, got)
    yield _apart("MinIO's clock", max(minio.least, -minio.most, 0.0))
    yield _apart("this machine's clock", max(here - got, sent - here, 0.0))


def _apart(whose: str, seconds: float) -> Check:
    """Return what a difference means that is at least so many seconds."""
    told = f"{whose} and PostgreSQL's are {seconds:.0f} s apart"
    if seconds > SKEW_MOST_S:
        return bad(f"{told}: from 15 minutes on MinIO refuses what is signed by the other clock", NTP)
    return warn(told, NTP) if seconds > SKEW_S else ok(f"{whose} and PostgreSQL's agree")


def versioning(checked: Checked) -> Iterator[Check]:
    """Tell whether the mapping and each bucket agree on versions."""
    column = checked.settings.mapping.version.s3_version
    for bucket in checked.buckets():
        try:
            mode = checked.store.versioning(bucket)
        except Misconfigured as refusal:
            yield _unread(bucket, "versioning", refusal, "s3:GetBucketVersioning")
            continue
        if column and mode == "Off":
            fix = f"mc version enable ALIAS/{bucket}, or leave mapping.version.s3_version out"
            yield bad(f"{bucket}: is not versioned, and {column} is asked for as an S3 version", fix)
        elif not column and mode != "Off":
            told = (
                f"{bucket}: versioning is {mode.lower()}, and no S3 version is mapped: the latest counts for every row"
            )
            yield warn(told, 'mapping.version.s3_version = "COLUMN", if the application keeps it')
        else:
            yield ok(f"{bucket}: versioning is {mode.lower()}, as the mapping has it")


def lifecycle(checked: Checked) -> Iterator[Check]:
    """Tell which lifecycle rules remove objects that rows may still name."""
    settings = checked.settings
    is_watched = watched((), settings.filters.exclude)
    by_version = bool(settings.mapping.version.s3_version)
    for bucket in checked.buckets():
        try:
            found = list(administration.expiries(checked.store, bucket))
        except Misconfigured as refusal:
            yield _unread(bucket, "lifecycle", refusal, "s3:GetLifecycleConfiguration")
            continue
        live = [
            one
            for one in found
            if (by_version or not one.noncurrent)
            if is_watched(f"{one.prefix}a") or is_watched(f"{one.prefix}a/b.c")
        ]
        for one in live:
            where = f"below {one.prefix!r}" if one.prefix else "everywhere"
            told = (
                f"{bucket}: the rule {one.name!r} removes objects {where} by their age, whether rows name them or not"
            )
            exclude = f', or [filters] exclude = ["/{one.prefix}**"]' if one.prefix else ""
            fix = f"mc ilm rule remove --id {one.name!r} ALIAS/{bucket}{exclude}"
            yield warn(f"{told}; those with its tags", fix) if one.tagged else bad(told, fix)
        if not live:
            yield ok(f"{bucket}: no lifecycle rule removes what rows may name")
