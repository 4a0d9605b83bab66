"""Settings: every source, every fault at once, no secret anywhere."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.config.settings import KNOWN, load, show
from reconcile.config.values import duration, duration_text, masked_url
from reconcile.model import Brake, Misconfigured, Policy
from tests.support.configuration import LEAST, SECRET, faults, loaded, no_file

ROOT = Path(__file__).parents[2]


def test_what_is_not_said_has_its_default():
    """Out of the box the service observes, and everything but the servers and the tables is settled."""
    found = loaded()
    assert found.flagging is False
    assert found.policy == Policy(flagging=False, flag=None)
    assert found.brake == Brake()
    assert found.stream.dead_letter_topic == "minio-events.dead-letter"
    assert found.stream.findings_topic == "minio-events.findings"
    assert found.kafka == {}


def test_values_are_typed():
    """Durations, shares, lists and numbers arrive as what they are."""
    found = loaded("""
        flagging = true
        [policy]
        missing_grace = "1m30s"
        [brake]
        share = 1
        [filters]
        include = ["a/**"]
        [web]
        port = 80
        [mapping]
        version = {table = "t", key = "k", status = "s"}
        status = {flag = "lost"}
    """)
    assert found.policy == Policy(flagging=True, flag="lost", missing_grace=timedelta(seconds=90))
    assert found.brake.share == 1.0
    assert found.filters.include == ("a/**",)
    assert found.web.port == 80


def test_the_environment_goes_before_the_file():
    """Every key has a variable, whose text is read as the key's type."""
    found = loaded(
        '[policy]\nmissing_grace = "1m"',
        {
            "RECONCILER_POLICY__MISSING_GRACE": "5s",
            "RECONCILER_FLAGGING": "off",
            "RECONCILER_STREAM__BATCH": "77",
            "RECONCILER_BRAKE__SHARE": "0.5",
            "RECONCILER_FILTERS__EXCLUDE": "tmp/{a,b}/**, *.part",
            "RECONCILER_FILTERS__INCLUDE": '["x,y"]',
            "RECONCILER_MAPPING__BUCKET__COLUMN": "kind",
            "RECONCILER_MAPPING__BUCKET__MAP": "{User = 'users'}",
            "RECONCILER_MINIO__CA_FILE": "/etc/ca.pem",
            "PATH": "/bin",
        },
    )
    assert found.policy.missing_grace == timedelta(seconds=5)
    assert (found.stream.batch, found.brake.share) == (77, 0.5)
    assert found.filters.exclude == ("tmp/{a,b}/**", "*.part")
    assert found.filters.include == ("x,y",)
    assert found.mapping.bucket.map == {"User": "users"}
    assert found.minio.ca_file == "/etc/ca.pem"


def test_a_secret_may_lie_in_a_file():
    """The file's text without its last line's end is the value; TOML and environment may both name the file."""
    found = load(
        {
            "database": {"url_file": "/run/url"},
            "minio": {"endpoint": "http://m", "access_key_file": "/run/user"},
            "kafka": {
                "bootstrap.servers": "k",
                "sasl.username_file": "/run/user",
                "ssl": {"key": {"pem_file": "/run/key"}},
            },
        },
        {"RECONCILER_MINIO__SECRET_KEY_FILE": "/run/key", "RECONCILER_KAFKA__SASL_PASSWORD_FILE": "/run/key"},
        {"/run/url": "postgresql://x\n", "/run/key": "  k\r\n", "/run/user": "alice"}.__getitem__,
        needed=(),
    )
    assert (found.database.url, found.minio.access_key, found.minio.secret_key) == ("postgresql://x", "alice", "  k")
    names = ("bootstrap.servers", "sasl.username", "ssl.key.pem", "sasl.password")
    assert found.kafka == dict(zip(names, ("k", "alice", "  k", "  k"), strict=True))
    assert found.files["database.url"] == "/run/url"
    assert found.files["kafka.sasl.username"] == "/run/user"
    assert found.files["kafka.sasl.password"] == "/run/key"
    assert "kafka.bootstrap.servers" not in found.files
    [fault] = faults("kafka = {'bootstrap.servers' = 'k', 'sasl.password_file' = '/run/word'}")
    assert fault.startswith("kafka.sasl.password_file: its file cannot be read")


def test_kafkas_keys_are_librdkafkas():
    """Quoted or dotted, from the file or the environment: none is unknown, none is renamed."""
    found = loaded(
        """
        [kafka]
        "bootstrap.servers" = "k:9092"
        group.id = "file"
        "max.poll.interval.ms" = 300000
        [kafka.topic]
        "acks" = "all"
        """,
        {"RECONCILER_KAFKA__GROUP_ID": "environment", "RECONCILER_KAFKA__TOPIC__MESSAGE_TIMEOUT_MS": "5"},
    )
    assert found.kafka == {"bootstrap.servers": "k:9092", "group.id": "environment", "max.poll.interval.ms": 300000}
    assert found.kafka_topic == {"acks": "all", "message.timeout.ms": "5"}


def test_every_fault_is_told_at_once_with_key_value_rule_and_way_out():
    """One run is enough to repair a configuration."""
    found = faults(
        """
        flagging = "perhaps"
        unknown = 1
        minio = {endpoint = "minio:9000", head_threads = 0}
        [database]
        statement_timeout = 10
        [polcy]
        missing_grace = "1s"
        [stream]
        bacth = 5
        [brake]
        share = 1.5
        [filters]
        exclude = ["a[b"]
        [web]
        port = 70000
        """,
        {"RECONCILER_DATABSE__URL": "x", "RECONCILER_RETENTION__HISTORY": "for ever"},
    )
    rule = "must be a duration, a number with its unit, such as '500ms', '30s', '15m', '2h' or '1d'"
    pattern = "has a '[' without its ']' or ends in a lone backslash; put a backslash before it to mean it"
    assert set(found) == {
        "unknown: no such key; remove it, or see docs/configuration.md for the keys",
        "polcy: no such key; did you mean policy?",
        "stream.bacth: no such key; did you mean stream.batch?",
        "RECONCILER_DATABSE__URL: no such key; did you mean RECONCILER_DATABASE__URL?",
        "flagging = 'perhaps': must be true or false",
        "minio.head_threads = 0: must be at least 1",
        f"database.statement_timeout = 10: {rule}",
        "brake.share = 1.5: must be at most 1",
        "web.port = 70000: must be at most 65535",
        f"retention.history (from RECONCILER_RETENTION__HISTORY) = 'for ever': {rule}",
        "minio.endpoint = 'minio:9000': must be http://host:port or https://host:port, without a path",
        f"filters.exclude = 'a[b': {pattern}",
    }


def test_what_is_needed_and_missing_is_named_with_its_section_and_variable():
    """Nothing at all is a configuration with every needed key missing."""
    with pytest.raises(Misconfigured) as raised:
        load({}, {}, no_file)
    assert "database.url: is needed and has no value; set url under [database], or RECONCILER_DATABASE__URL" in str(
        raised.value
    )
    assert len(raised.value.faults) == 6
    assert (
        load({"database": {"url": "postgresql://x"}}, {}, no_file, needed=("database.url",)).mapping.version.table == ""
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECONCILER_CONFIG", "x"),
        ("RECONCILER_SERVERS", "native"),
        ("RECONCILER_TOOLS", "wheels"),
        ("RECONCILER_TEST_POSTGRES_URL", "x"),
        ("RECONCILER_SERVICE_HOST", "10.0.0.1"),
        ("RECONCILER_SERVICE_PORT", "9464"),
        ("RECONCILER_SERVICE_PORT_METRICS", "9464"),
        ("RECONCILER_PORT", "tcp://10.0.0.1:9464"),
        ("RECONCILER_PORT_9464_TCP_ADDR", "10.0.0.1"),
        ("RECONCILER_WEB_SERVICE_HOST", "10.0.0.1"),
    ],
)
def test_variables_of_others_are_no_faults(name, value):
    """Ours that are no settings, and those that Kubernetes sets for a service of our name."""
    assert loaded("", {name: value}) == loaded()


@pytest.mark.parametrize("name", ["RECONCILER_WEB_PORT", "RECONCILER_DATABASE_URL", "RECONCILER_URL", "RECONCILER_"])
def test_a_mistyped_variable_is_a_fault(name):
    """A variable that would pass silently is worse than one that stops the start."""
    [fault] = faults("", {name: "1"})
    assert fault.startswith(f"{name}: no such key")


def test_a_file_is_not_read_where_the_environment_goes_before_it():
    """The document may be that of another place, where the file was; here the variable is the secret."""
    document = tomllib.loads(LEAST)
    del document["minio"]["secret_key"]
    document["minio"]["secret_key_file"] = "/not/here"
    document["kafka"] = {"bootstrap.servers": "k", "sasl.password_file": "/not/here"}
    document["kafka"]["topic"] = {"some.word_file": "/not/here"}
    environ = {
        "RECONCILER_MINIO__SECRET_KEY": "word",
        "RECONCILER_KAFKA__SASL_PASSWORD_FILE": "/run/word",
        "RECONCILER_KAFKA__TOPIC__SOME_WORD": "x",
    }
    found = load(document, environ, {"/run/word": "of kafka"}.__getitem__)
    assert (found.minio.secret_key, found.kafka["sasl.password"]) == ("word", "of kafka")


def test_a_file_that_cannot_be_read_is_a_fault():
    """So are a value and its file at once."""
    [fault] = faults("", {"RECONCILER_DATABASE__URL_FILE": "/no"})
    assert "RECONCILER_DATABASE__URL_FILE: its file cannot be read (No such file or directory; " in fault
    assert "/no'" not in fault, "it may be the secret itself, in the wrong variable"
    both = {"RECONCILER_MINIO__REGION": "a", "RECONCILER_MINIO__REGION_FILE": "/f"}
    [fault] = faults("", both, {"/f": "b"})
    assert "keep one of them" in fault


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (IsADirectoryError(21, "Is a directory"), "Is a directory"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "it is not text"),
    ],
)
def test_a_file_that_is_there_and_cannot_be_read_is_named(error, why):
    """What lies there is a path, and no secret in the wrong variable."""

    def refusing(_: str) -> str:
        raise error

    with pytest.raises(Misconfigured) as raised:
        load({}, {"RECONCILER_KAFKA__SASL_PASSWORD_FILE": "/run/key"}, refusing, needed=())
    assert f"RECONCILER_KAFKA__SASL_PASSWORD_FILE = '/run/key': its file cannot be read ({why})" in str(raised.value)


def test_no_secret_is_told():
    """Not in a fault, not in what is shown, not in a repr."""
    environ = {"RECONCILER_KAFKA__SASL_PASSWORD": SECRET, "RECONCILER_KAFKA__BOOTSTRAP_SERVERS": "k:9092"}
    found = loaded("[kafka]\n'ssl.key.pem' = '%s'" % SECRET, environ)  # noqa: UP031  # braces are TOML's here
    shown = show(found)
    assert SECRET not in repr(shown) + repr(found)
    assert ("database.url", "postgresql://app:***@db:5432/app", "file") in shown
    assert ("kafka.sasl.password", "***", "RECONCILER_KAFKA__SASL_PASSWORD") in shown
    wrong = [
        *faults(
            f"database = {{url = '{SECRET}'}}\nminio.endpoint = 'http://{SECRET}@x'\nminio.secret_key = ['{SECRET}']"
        ),
        *faults(f"database = '{SECRET}'\nkafka = '{SECRET}'\nminio.secret_keys = '{SECRET}'"),
        *faults("", {"RECONCILER_MINIO__SECRET_KEY_FILE": SECRET, "RECONCILER_MINIO__SECRETKEY": SECRET}),
    ]
    assert len(wrong) >= 7
    assert SECRET not in "".join(wrong)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3@cr3t@h/d",
        "postgresql://u:s3/cr3t@h/d",
        "postgresql://u:s3cr3t%zz@h/d",
        "postgresql://u:s3 cr3t@h/d",
        "host=h password=s3 cr3t",
        "s3cr3t",
    ],
)
def test_a_url_whose_password_would_be_taken_for_something_else_is_a_fault(url):
    """Else a driver's error would tell a part of it."""
    [fault] = faults("", {"RECONCILER_DATABASE__URL": url})
    assert fault.startswith("database.url: must be postgresql://")
    assert "cr3t" not in fault


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3%40cr3t%2F@h1,h2:5432/d?application_name=a@b&sslrootcert=/c",
        "postgres:///d?host=/run/postgresql",
        "postgresql://u:s3?c#r3t@h/d",
        "host=h password='s3 c@r3t'",
    ],
)
def test_a_url_that_libpq_reads_as_it_is_meant_is_none(url):
    """Several hosts, a socket, what is not special to libpq."""
    assert loaded("", {"RECONCILER_DATABASE__URL": url}).database.url == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:5432/d?password=p", "postgresql://u:***@h:5432/d"),
        ("postgresql://h/d", "***"),
        ("postgresql://u@h1,h2:5432/d", "postgresql://u@h1,h2:5432/d"),
        ("postgresql://u:p/q@h/d", "***"),
        ("postgresql://u:p@q@h/d", "***"),
        ("postgresql://u:12?p@h/d", "***"),
        ("host=h password=p", "***"),
    ],
)
def test_a_url_is_masked_wherever_its_secret_may_be(url, shown):
    """Better too little than a part of a password."""
    assert masked_url(url) == shown


def test_every_value_is_shown_with_its_source():
    """A file, the environment, or the default."""
    rows = {key: (value, source) for key, value, source in show(loaded("", {"RECONCILER_WEB__PORT": "1"}))}
    assert rows["web.port"] == ("1", "RECONCILER_WEB__PORT")
    assert rows["minio.endpoint"] == ("http://minio:9000", "file")
    assert rows["policy.missing_grace"] == ("30s", "default")
    assert set(KNOWN) <= set(rows)


@given(st.integers(0, 10**13))
def test_a_duration_is_shown_as_it_is_written(milliseconds):
    """What is shown can be written."""
    written = timedelta(milliseconds=milliseconds % 10**12)
    assert duration(duration_text(written)) == written


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.sampled_from(["", "kafka", "kafka.topic", "mapping", *KNOWN]), VALUES)
def test_any_value_anywhere_is_a_value_or_a_fault(key, value):
    """No TOML is a crash."""
    document: object = value
    for part in reversed(key.split(".")):
        document = {part: document}
    with suppress(Misconfigured):
        load(document, {}, no_file, needed=())


def test_every_key_is_documented_and_in_the_example():
    """docs/configuration.md and examples/reconciler.toml know every key; the example is a valid configuration."""
    documented = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    example = (ROOT / "examples" / "reconciler.toml").read_text("utf-8")
    assert [key for key in KNOWN if f"`{key}`" not in documented] == []
    found = load(tomllib.loads(example), {}, str)
    everything = tomllib.loads(re.sub(r"^# (?=[\w\"'][\w.\"']* = |\[)", "", example, flags=re.MULTILINE))
    assert [key for key in KNOWN if not _has(everything, key) and not KNOWN[key].secret] == []
    assert load(everything, {}, str).policy.flag == found.policy.flag


DERIVED = {"stream.dead_letter_topic": "`<topic>.dead-letter`", "stream.findings_topic": "`<topic>.findings`"}


@pytest.mark.parametrize("key", KNOWN)
def test_the_default_that_is_documented_is_the_codes(key):
    """The column of the reference: what must be given is `needed`, what is empty has none."""
    documented = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    [told] = re.findall(rf"^\| `{re.escape(key)}` \| ([^|]*)\|", documented, flags=re.MULTILINE)
    value = KNOWN[key].default
    match value:
        case bool():
            shown = f"`{str(value).lower()}`"
        case timedelta():
            shown = f"`{duration_text(value)}`"
        case None | "":
            shown = DERIVED.get(key, "needed" if told.strip() == "needed" else "")
        case () | {}:
            shown = "`{}`" if isinstance(value, dict) else "`[]`"
        case _:
            shown = f"`{value}`"
    assert told.strip() == shown
    if shown == "needed":
        with pytest.raises(Misconfigured, match=re.escape(key)):
            load({}, {}, no_file)


def _has(document: dict[str, object], key: str) -> bool:
    found: object = document
    for part in key.split("."):
        if not isinstance(found, dict) or part not in found:
            return False
        found = found[part]
    return True
