"""The objects' side against a real MinIO: what is proven, what stays unknown, and that no fault outlasts a deadline."""

import io
import threading
from datetime import UTC, datetime, timedelta
from time import monotonic
from urllib.parse import unquote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from minio.commonconfig import ENABLED
from minio.deleteobjects import DeleteObject
from minio.notificationconfig import NotificationConfig, PrefixFilterRule, QueueConfig
from minio.versioningconfig import VersioningConfig

from reconcile.model import Absent, Misconfigured, NotAsked, ObjectRef, Present, Unavailable, Unknown
from reconcile.store import bucketrules
from reconcile.store.eventrules import EVENTS
from reconcile.store.heads import NO_NAME, unanswered
from reconcile.store.objects import REMOVALS, Objects, Silent
from reconcile.store.server import Server
from tests.support.proxy import BUSY, FORBIDDEN, NOT_FOUND, Answer, Cut, Pass, Slow, Stall

AAA_MD5 = "e1faffb3e614e6c2fba74296962386b7"
NEVER_A_VERSION = "00000000-0000-4000-8000-000000000000"


def server_of(minio, url=None, **changes):
    """Say how to reach the MinIO of the run, perhaps through a proxy."""
    return Server(url or minio.url, minio.user, changes.pop("secret", minio.password), minio.region, **changes)


@pytest.fixture
def versioned(objects, bucket):
    """Make the bucket a versioned one."""
    objects.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(ENABLED))
    return bucket


def put(objects, bucket, key, content=b"AAA"):
    """Put an object and return its reference and version."""
    done = objects.put_object(bucket_name=bucket, object_name=key, data=io.BytesIO(content), length=len(content))
    return ObjectRef(bucket, key), done.version_id


def see(eyes, ref, deadline_s=5.0):
    """Look at one object."""
    return eyes.heads([ref], deadline_s)[ref]


def test_a_present_object_is_seen_with_size_etag_and_time(objects, bucket, eyes):
    """Size, unquoted ETag and an aware time are what MinIO holds."""
    ref, _ = put(objects, bucket, "a")
    seen = see(eyes, ref)
    assert seen == Present(3, AAA_MD5, None, seen.last_modified)
    assert abs(datetime.now(UTC) - seen.last_modified) < timedelta(minutes=1)  # noqa: TID251


def test_an_empty_object_is_present(objects, bucket, eyes):
    """Zero bytes are an object."""
    ref, _ = put(objects, bucket, "empty", b"")
    assert see(eyes, ref).size == 0


@pytest.mark.invariant(1)
def test_a_missing_object_is_absent(bucket, eyes):
    """404 with NoSuchKey is proof."""
    assert see(eyes, ObjectRef(bucket, "never")) == Absent("NoSuchKey")


@pytest.mark.parametrize(
    "key",
    [
        "a b+c%2Fd%",
        "папка/файл 1.txt",
        "🗄/📄&=?#;:@$,'\"()*!~_-.",
        "x/" * 511 + "xx",
        "tab\tline\nend",
        "back\\slash",
        "dir/",
        "é/e\u0301",
        "...",
    ],
)
def test_every_key_is_asked_for_as_it_is(objects, bucket, eyes, key):
    """What was put under a key is seen under it, and a neighbour is not."""
    ref, _ = put(objects, bucket, key, b"" if key.endswith("/") else b"AAA")
    assert isinstance(see(eyes, ref), Present)
    assert isinstance(see(eyes, ObjectRef(bucket, key + "x")), Absent)


@pytest.mark.invariant(1)
@pytest.mark.parametrize(
    "key",
    [
        *("/a", "//a", "a//b", "b//a", "a/../b", "b/../a", "./a", "b/./a", "a/.", ".", "..", "b/..", "a//", "/", ""),
        *("x" * 1025, "\0", "\ud800", "..\\a", ". ", " ../a", "x" * 256, "b/" + "é" * 128),
    ],
)
def test_a_key_that_cannot_exist_is_none(objects, bucket, eyes, key):
    """Nothing is proven of such a name, least of all by another object's answer."""
    for other in ("a", "b/a"):
        put(objects, bucket, other)
    assert see(eyes, ObjectRef(bucket, key)) == NO_NAME


@pytest.mark.invariant(1)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40), min_size=20, max_size=60))
def test_every_name_is_signed_right(bucket, eyes, keys):
    """A name that nobody put is proven absent or is none, as MinIO says of dots among spaces; none is badly signed."""
    seen = eyes.heads([ObjectRef(bucket, key) for key in keys], 10)
    assert {Absent("NoSuchKey"), NO_NAME, Unknown("HTTP 400")} >= set(seen.values())


@pytest.mark.invariant(1)
@pytest.mark.parametrize("name", ["", ".", "..", "minio", "UPPER_", "no-such-bucket-at-all", "{bucket}/a", "a\r\nb: c"])
def test_what_is_no_bucket_is_unknown(objects, bucket, eyes, name):
    """No name of a bucket leads to an answer about something else."""
    put(objects, bucket, "a/b")
    assert isinstance(see(eyes, ObjectRef(name.format(bucket=bucket), "b")), Unknown)


@pytest.mark.invariant(1)
@pytest.mark.parametrize("name", [".", "..", "", "{bucket}/a"])
def test_what_is_no_bucket_is_not_read_from_another(objects, bucket, eyes, name):
    """Neither a page nor a stream nor the probe takes the server's root, or an object, for a bucket."""
    name = name.format(bucket=bucket)
    put(objects, bucket, "a")
    assert eyes.probe(name) == NO_NAME.reason
    with pytest.raises(Misconfigured):
        eyes.page(name, [("list-type", "2")])
    with pytest.raises(Misconfigured):
        next(eyes.listen(name, REMOVALS, lambda: False))


def test_a_missing_bucket_says_so(eyes):
    """The reason names status and code, and the probe agrees."""
    ref = ObjectRef("no-such-bucket-at-all", "a")
    assert see(eyes, ref) == Unknown("HTTP 404 NoSuchBucket")
    assert eyes.probe(ref.bucket) == "HTTP 404 NoSuchBucket"
    assert not eyes.bucket_exists(ref.bucket)


def test_a_delete_marker_is_an_absence_with_evidence(objects, versioned, eyes):
    """The latest is hidden, the version is still there, and the marker's own id is no object."""
    ref, version = put(objects, versioned, "a")
    assert see(eyes, ref) == see(eyes, ref._replace(s3_version=version))
    objects.remove_object(bucket_name=versioned, object_name="a")
    hidden = see(eyes, ref)
    assert hidden == Absent("NoSuchKey", hidden.delete_marker)
    assert see(eyes, ref._replace(s3_version=version)) == Present(3, AAA_MD5, version, see_time(eyes, ref, version))
    assert see(eyes, ref._replace(s3_version=hidden.delete_marker)) == Absent("MethodNotAllowed", hidden.delete_marker)


def see_time(eyes, ref, version):
    """Return when a version was put."""
    return see(eyes, ref._replace(s3_version=version)).last_modified


@pytest.mark.invariant(1)
def test_versions_that_are_not_there(objects, versioned, eyes):
    """A version that could exist and does not is absent; what cannot be a version of MinIO's proves nothing."""
    ref, _ = put(objects, versioned, "a")
    assert see(eyes, ref._replace(s3_version=NEVER_A_VERSION)) == Absent("NoSuchVersion")
    assert see(eyes, ref._replace(s3_version="null")) == Absent("NoSuchVersion")
    assert see(eyes, ref._replace(s3_version="of another store")) == NO_NAME
    assert see(eyes, ref._replace(s3_version="no version&x=y")) == NO_NAME


def test_a_suspended_buckets_marker_is_the_null_version(objects, versioned, eyes):
    """A null marker hides the key, too, and is named."""
    ref, _ = put(objects, versioned, "a")
    objects.set_bucket_versioning(bucket_name=versioned, config=VersioningConfig("Suspended"))
    objects.remove_object(bucket_name=versioned, object_name="a")
    assert see(eyes, ref) == Absent("NoSuchKey", "null")
    assert eyes.versioning(versioned) == "Suspended"


@pytest.mark.invariant(1)
def test_a_wrong_secret_is_unknown_and_no_outage(minio, objects, bucket):
    """403 proves nothing of the object, and the server does answer."""
    ref, _ = put(objects, bucket, "a")
    with Objects(server_of(minio, secret="wrong-secret")) as blind:
        sides = blind.heads([ref], 5)
        assert sides[ref] == Unknown("HTTP 403 SignatureDoesNotMatch")
        assert blind.probe_silent(sides) == {}
        assert blind.probe(bucket) == "HTTP 403 SignatureDoesNotMatch"
        with pytest.raises(Misconfigured):
            blind.versioning(bucket)
        with pytest.raises(Misconfigured, match="SignatureDoesNotMatch"):
            next(blind.listen(bucket, REMOVALS, lambda: False))


@pytest.mark.invariant(1)
@pytest.mark.parametrize("fault", [FORBIDDEN, NOT_FOUND])
def test_an_answer_without_minios_header_is_unknown(bucket, far_eyes, proxy, fault):
    """A proxy's 404 is not MinIO's, though it is an answer."""
    proxy.set(fault)
    ref = ObjectRef(bucket, "never")
    sides = far_eyes.heads([ref], 5)
    assert sides[ref] == Unknown(f"HTTP {fault.status[:3]}")
    assert far_eyes.probe_silent(sides) == {}


@pytest.mark.invariant(1)
def test_a_busy_server_is_unknown_at_once_and_an_outage(bucket, far_eyes, proxy):
    """503 is not waited out for the minute that it asks for."""
    proxy.set(BUSY)
    refs = [ObjectRef(bucket, f"{number}") for number in range(100)]
    started = monotonic()
    sides = far_eyes.heads(refs, 5)
    assert set(sides.values()) == {Unknown("HTTP 503 SlowDownRead")}
    with pytest.raises(Unavailable, match="SlowDownRead"):
        far_eyes.probe_silent(sides)
    with pytest.raises(Unavailable):
        far_eyes.versioning(bucket)
    with pytest.raises(Unavailable):
        far_eyes.page(bucket, [("list-type", "2")])
    assert monotonic() - started < 2


@pytest.mark.invariant(1)
def test_one_answer_is_no_outage(bucket, eyes):
    """A bucket of which anything was answered is not probed."""
    sides = {ObjectRef(bucket, "a"): Unknown("late"), ObjectRef(bucket, "b"): Absent("NoSuchKey")}
    assert unanswered(sides) == set()
    assert unanswered({ObjectRef(bucket, "a"): Unknown("late"), ObjectRef(bucket, "b"): NotAsked()}) == {bucket}
    assert unanswered({ObjectRef(bucket, "b"): NotAsked()}) == set()


@pytest.mark.invariant(1)
def test_a_cut_connection_is_unknown_and_the_probe_decides(objects, bucket, far_eyes, proxy):
    """What breaks off proves nothing; when the line is whole again, the same call sees again."""
    ref, _ = put(objects, bucket, "a")
    assert isinstance(see(far_eyes, ref), Present)
    proxy.set(Cut())
    sides = far_eyes.heads([ref, ObjectRef(bucket, "never")], 5)
    assert {type(seen) for seen in sides.values()} == {Unknown}
    with pytest.raises(Unavailable):
        far_eyes.probe_silent(sides)
    proxy.set(Pass())
    assert far_eyes.probe_silent(sides) == {bucket: None}
    assert isinstance(see(far_eyes, ref), Present)


def test_connections_that_the_server_closed_meanwhile_are_no_fault(objects, bucket, far_eyes, proxy):
    """Kept connections may die of age between two calls; nobody is to notice."""
    refs = [put(objects, bucket, f"{number}")[0] for number in range(40)]
    far_eyes.heads(refs, 5)
    proxy.set(Cut())
    proxy.set(Pass())
    assert {type(seen) for seen in far_eyes.heads(refs, 5).values()} == {Present}


@pytest.mark.invariant(1)
def test_a_server_that_is_down_is_unavailable(bucket, far_eyes, proxy):
    """Refused connections are unknown at once, are not tried for ever, and the probe says what is wrong."""
    proxy.stop()
    refs = [ObjectRef(bucket, f"{number}") for number in range(1000)]
    sides = far_eyes.heads(refs, 5)
    kinds = [type(seen) for seen in sides.values()]
    assert kinds.count(Unknown) == far_eyes.server.connections
    assert kinds.count(NotAsked) == 1000 - far_eyes.server.connections
    with pytest.raises(Unavailable, match="refused"):
        far_eyes.probe_silent(sides)


@pytest.mark.invariant(1)
def test_a_stalled_server_holds_nobody_beyond_the_deadline(objects, bucket, far_eyes, proxy):
    """What was sent is late, the rest was not asked, and nothing is left behind that would hinder the next call."""
    ref, _ = put(objects, bucket, "0")
    refs = [ObjectRef(bucket, f"{number}") for number in range(1000)]
    assert isinstance(see(far_eyes, ref), Present)
    proxy.set(Stall())
    started = monotonic()
    sides = far_eyes.heads(refs, 0.5)
    assert monotonic() - started < 0.9  # 0.2 s where the machine is idle
    assert [sides[ref] for ref in refs[:16]] == [Unknown("late")] * 16
    assert [sides[ref] for ref in refs[16:]] == [NotAsked()] * 984
    with pytest.raises(Unavailable, match="late"):
        far_eyes.probe_silent(sides)
    proxy.set(Pass())
    assert NotAsked() not in far_eyes.heads(refs, 10).values()
    assert isinstance(see(far_eyes, ref), Present)


def test_without_time_nothing_is_asked(bucket, eyes):
    """A deadline that has passed sends nothing, so nothing is held against the bucket."""
    ref = ObjectRef(bucket, "a")
    assert eyes.heads([ref], 0) == {ref: NotAsked()}


def test_one_answer_that_does_not_come_is_given_up_before_the_deadline(bucket, far_eyes, proxy):
    """Each answer has a time-out of its own, so that a long deadline is not spent on a few stuck keys."""
    proxy.set(Stall())
    started = monotonic()
    assert see(far_eyes, ObjectRef(bucket, "a"), 30) == Unknown("no answer within 1 s")
    assert monotonic() - started < 2


def test_a_slow_server_is_waited_for(objects, bucket, far_eyes, proxy):
    """Slow is not late."""
    ref, _ = put(objects, bucket, "a")
    proxy.set(Slow(0.2))
    assert isinstance(see(far_eyes, ref), Present)


def test_the_first_named_is_asked_first(objects, bucket, minio, proxy):
    """When time is short, it is the tail that is not asked."""
    refs = [put(objects, bucket, f"{number}")[0] for number in range(20)]
    with Objects(server_of(minio, proxy.url, connections=2)) as narrow:
        proxy.set(Slow(0.1))
        seen = list(narrow.heads(refs, 0.55).values())
    asked = [not isinstance(one, NotAsked) for one in seen]
    assert asked == sorted(asked, reverse=True)
    assert 4 <= sum(asked) <= 12


def test_threads_may_share_it(objects, bucket, eyes):
    """Each call has connections of its own, so that no answer goes to another's question."""
    refs = [put(objects, bucket, f"{number}", b"x" * number)[0] for number in range(50)]
    right = []

    def look():
        sizes = ([seen.size for seen in eyes.heads(refs, 10).values()] for _ in range(20))
        right.extend(seen == list(range(50)) for seen in sizes)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 80


def test_the_date_of_an_answer_is_the_servers_time(bucket, eyes):
    """It is told in whole seconds, and both run on one machine here."""
    before = datetime.now(UTC).timestamp()  # noqa: TID251
    date = eyes.date(bucket)
    assert before - 1 <= date <= datetime.now(UTC).timestamp()  # noqa: TID251


class Listener:
    """Runs a listen stream in a thread, and keeps what it brought and how it ended."""

    def __init__(self, eyes, bucket, **options) -> None:
        self.lines = []
        self.pings = 0
        self.error = None
        self.stop = threading.Event()
        self.came = threading.Condition()
        self.thread = threading.Thread(target=self._run, args=(eyes, bucket, options), daemon=True)
        self.thread.start()

    def _run(self, eyes, bucket, options):
        try:
            for line in eyes.listen(bucket, REMOVALS, self.stop.is_set, **options):
                with self.came:
                    self.pings += line is None
                    self.lines += [line] * (line is not None)
                    self.came.notify_all()
        except (Silent, Unavailable) as error:
            self.error = error

    def wait(self, condition, seconds=10):
        """Wait until the condition holds."""
        with self.came:
            assert self.came.wait_for(condition, seconds)

    def ended(self, seconds=10):
        """Wait for the end and return the error, if any."""
        self.thread.join(seconds)
        assert not self.thread.is_alive()
        return self.error


def test_a_deletion_is_heard(objects, bucket, eyes):
    """Single and batch deletions and pings arrive; the stop is heeded at the next ping."""
    listener = Listener(eyes, bucket)
    listener.wait(lambda: listener.pings)
    put(objects, bucket, "a+b %ü")
    objects.remove_object(bucket_name=bucket, object_name="a+b %ü")
    listener.wait(lambda: listener.lines)
    assert '"key":"a+b %ü"'.encode() in listener.lines[0]
    list(objects.remove_objects(bucket_name=bucket, delete_object_list=[DeleteObject("b"), DeleteObject("c")]))
    listener.wait(lambda: len(listener.lines) == 3)
    listener.stop.set()
    assert listener.ended(3) is None


def test_a_deletion_is_heard_at_once(objects, bucket, eyes):
    """What comes is not held back until a tick."""
    listener = Listener(eyes, bucket)
    listener.wait(lambda: listener.pings)
    taken = []
    for number in range(9):
        put(objects, bucket, f"{number}")
        started = monotonic()
        objects.remove_object(bucket_name=bucket, object_name=f"{number}")
        listener.wait(lambda number=number: len(listener.lines) > number)
        taken.append(monotonic() - started)
    listener.stop.set()
    assert listener.ended(3) is None
    assert sorted(taken)[4] < 0.1  # 0.003 s where the machine is idle; a tick would cost 0.125


def test_a_silent_stream_is_noticed(bucket, far_eyes, proxy):
    """When even the pings stay away, the stream says that it is silent; as long as they come it does not."""
    listener = Listener(far_eyes, bucket, silence_s=2.0)
    listener.wait(lambda: listener.pings >= 3)
    proxy.set(Stall())
    started = monotonic()
    assert isinstance(listener.ended(), Silent)
    assert monotonic() - started < 3


def test_a_stream_that_is_never_served_is_silent(bucket, far_eyes, proxy):
    """A server that takes the request and sends nothing is no listener's friend."""
    proxy.set(Stall())
    with pytest.raises(Silent):
        next(far_eyes.listen(bucket, REMOVALS, lambda: False, silence_s=0.5))


def test_a_stream_that_breaks_is_unavailable(bucket, far_eyes, proxy):
    """A cut is told from silence."""
    listener = Listener(far_eyes, bucket)
    listener.wait(lambda: listener.pings)
    proxy.set(Cut())
    assert isinstance(listener.ended(), Unavailable)


def test_closing_ends_the_stream(bucket, far_eyes, proxy):
    """Another thread may close what is listening, even while nothing comes."""
    listener = Listener(far_eyes, bucket, silence_s=30.0)
    listener.wait(lambda: listener.pings)
    proxy.set(Stall())
    far_eyes.close()
    assert listener.ended() is None


def test_a_bucket_that_is_missing_cannot_be_listened_to(eyes):
    """The refusal is told by its code."""
    with pytest.raises(Misconfigured, match="NoSuchBucket"):
        next(eyes.listen("no-such-bucket-at-all", REMOVALS, lambda: False))


def test_our_rule_stands_beside_anothers(objects, minio, bucket, eyes):
    """A plan changes nothing; the act adds what is lacking, keeps the old document, and is idempotent."""
    theirs = QueueConfig(
        queue=minio.arn,
        events=["s3:ObjectCreated:Put"],
        config_id="theirs",
        prefix_filter_rule=PrefixFilterRule("in/"),
    )
    objects.set_bucket_notification(bucket_name=bucket, config=NotificationConfig(queue_config_list=[theirs]))
    before = bucketrules.document(eyes, bucket)
    plan = bucketrules.plan(eyes, bucket, minio.arn)
    assert plan.lacking == EVENTS
    assert bucketrules.document(eyes, bucket) == before == plan.before
    assert bucketrules.apply(eyes, plan).before == before
    rules = objects.get_bucket_notification(bucket_name=bucket).queue_config_list
    assert rules[0] == theirs
    assert [(rule.config_id, tuple(rule.events)) for rule in rules[1:]] == [(bucketrules.RULE_ID, EVENTS)]
    assert bucketrules.plan(eyes, bucket, minio.arn).lacking == ()
    assert bucketrules.apply(eyes, plan).lacking == ()


def test_a_rule_of_ours_that_lacks_an_event_is_completed(objects, minio, bucket, eyes):
    """What it had is kept, and what a wider event covers is not named twice."""
    ours = QueueConfig(queue=minio.arn, events=["s3:ObjectCreated:Put", "s3:ObjectAccessed:Get"], config_id="x")
    objects.set_bucket_notification(bucket_name=bucket, config=NotificationConfig(queue_config_list=[ours]))
    bucketrules.apply(eyes, bucketrules.plan(eyes, bucket, minio.arn))
    (rule,) = objects.get_bucket_notification(bucket_name=bucket).queue_config_list
    assert (rule.config_id, set(rule.events)) == ("x", {*EVENTS, "s3:ObjectAccessed:Get"})


def test_a_target_that_minio_does_not_know_is_a_fault_of_configuration(bucket, eyes):
    """The server's own words are passed on, with the target that they do not name, and the way out."""
    told = r"destination ARN.* If that is arn:minio:sqs::NOBODY:kafka, set MINIO_NOTIFY_KAFKA_\*_NOBODY .*stream\.arn"
    with pytest.raises(Misconfigured, match=told):
        bucketrules.apply(eyes, bucketrules.plan(eyes, bucket, "arn:minio:sqs::NOBODY:kafka"))


def test_a_page_is_what_the_server_sent(objects, bucket, eyes):
    """A document of the bucket is fetched whole and signed."""
    odd = "a b+c%/=&~*'()é🗄"
    put(objects, bucket, odd)
    page = eyes.page(bucket, [("list-type", "2"), ("encoding-type", "url"), ("prefix", odd), ("start-after", "a")])
    assert unquote_plus(page.split(b"<Key>")[1].split(b"</Key>")[0].decode()) == odd


def test_a_page_that_does_not_come_is_unavailable(bucket, far_eyes, proxy):
    """Neither silence nor a refusal that passes is an empty page."""
    proxy.set(Answer("429 Too Many Requests"))
    with pytest.raises(Unavailable, match="429"):
        far_eyes.page(bucket, [("list-type", "2")])
    proxy.set(Stall())
    with pytest.raises(Unavailable, match="nothing came"):
        far_eyes.page(bucket, [("list-type", "2")])
    proxy.set(Cut())
    with pytest.raises(Unavailable):
        far_eyes.page(bucket, [("list-type", "2")])
