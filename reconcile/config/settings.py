"""Every setting, its type, its default, and the rules between them.

Knows no server: whether a table exists is asked elsewhere. Pure: `load` turns a parsed TOML document, the environment
and a function that reads files into one value, or raises Misconfigured with every fault at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from operator import attrgetter
from typing import Any

from reconcile.config import checks
from reconcile.config.filters import OURS
from reconcile.config.loading import INTERNAL, Leaf, Place, ReadFile, Written, build, leaves, typed, variable, written
from reconcile.config.openkeys import Scalar, is_secret, open_keys, scalar
from reconcile.config.values import MASK, masked_url, shown
from reconcile.model import Brake, Misconfigured, Policy

SERVERS = ("database.url", "minio.endpoint", "minio.access_key", "minio.secret_key")
NEEDED = (*SERVERS, "mapping.version.table", "mapping.version.key")


def _internal() -> Any:
    return field(default_factory=dict, repr=False, metadata={INTERNAL: True})


def _secret() -> Any:
    return field(default="", repr=False, metadata={"secret": True})


def _bounded(default: float, least: float, most: float | None = None) -> Any:
    return field(default=default, metadata={"least": least, "most": most})


@dataclass(frozen=True, slots=True)
class Database:
    """[database]: the application's database, which holds our schema, too."""

    url: str = _secret()
    statement_timeout: timedelta = timedelta(seconds=10)
    lock_timeout: timedelta = timedelta(milliseconds=200)
    pooled: bool = False


@dataclass(frozen=True, slots=True)
class Minio:
    """[minio]: the object store, and how long it may take to answer."""

    endpoint: str = ""
    access_key: str = ""
    secret_key: str = _secret()
    region: str = "us-east-1"
    ca_file: str | None = None
    head_threads: int = _bounded(8, 1, 256)
    head_timeout: timedelta = timedelta(seconds=2)
    look_deadline: timedelta = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Stream:
    """[stream]: the events' topic, what goes beside it, and how it is read."""

    topic: str = "minio-events"
    arn: str = ""
    dead_letter_topic: str = ""
    findings_topic: str = ""
    publish_findings: bool = False
    dialect: str = "minio"
    batch: int = _bounded(3000, 1, 100_000)
    express: bool = True


@dataclass(frozen=True, slots=True)
class Retention:
    """[retention]: how long what is closed is kept."""

    history: timedelta = timedelta(days=90)
    findings: timedelta = timedelta(days=90)
    sweeps: timedelta = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Purging:
    """[purge]: when a version that a later one supersedes may go earlier than --older-than; 0s: not earlier."""

    superseded_after: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Trash:
    """[trash]: where a copy goes before an orphan is deleted; `always` keeps one in versioned buckets, too."""

    bucket: str = ""
    prefix: str = f"{OURS}trash/"
    always: bool = False


@dataclass(frozen=True, slots=True)
class Backup:
    """[backup]: where `restore` finds what was lost: `prefix` and the key, in `bucket`, or in the same one."""

    bucket: str = ""
    prefix: str = ""

    def holds(self, bucket: str, key: str) -> bool:
        """Tell whether this object is a backup itself."""
        return bool(self.prefix or self.bucket) and self.bucket in {"", bucket} and key.startswith(self.prefix)


@dataclass(frozen=True, slots=True)
class Filters:
    """[filters]: which keys are watched."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Canary:
    """[canary]: how often an object is put and deleted to time the lanes (0s: never), and how many a lane may miss."""

    interval: timedelta = timedelta(0)
    misses: int = _bounded(3, 1, 1_000)


@dataclass(frozen=True, slots=True)
class Web:
    """[web]: metrics, probes and the status page."""

    port: int = _bounded(9464, 0, 65_535)
    bind: str = "127.0.0.1"
    status: bool = True


@dataclass(frozen=True, slots=True)
class VersionTable:
    """[mapping.version]: the table with one row a stored object."""

    table: str = ""
    id: str = "id"
    key: str = ""
    file_id: str | None = None
    size: str | None = None
    etag: str | None = None
    status: str | None = None
    s3_version: str | None = None
    created_at: str | None = None
    number: str | None = None
    sha256: str | None = None
    deleted: str | None = None


@dataclass(frozen=True, slots=True)
class FileTable:
    """[mapping.file]: the parent table, if there is one."""

    table: str | None = None
    id: str = "id"
    status: str | None = None
    expects_absence: tuple[str, ...] = ()
    deleted: str | None = None


@dataclass(frozen=True, slots=True)
class StatusWords:
    """[mapping.status]: what the values of the status column mean."""

    flag: str = "corrupted"
    purged: str = ""
    expects_absence: tuple[str, ...] = ()
    live: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BucketOf:
    """[mapping.bucket]: where the bucket's name comes from; `name` alone, or for what the column leaves open."""

    name: str | None = None
    column: str | None = None
    map: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MappingSettings:
    """[mapping]: where the application keeps what."""

    group: str | None = None
    owner: str | None = None
    timezone: str = "UTC"
    allow_scan: bool = False
    allow_row_security: bool = False
    version: VersionTable = field(default_factory=VersionTable)
    file: FileTable = field(default_factory=FileTable)
    status: StatusWords = field(default_factory=StatusWords)
    bucket: BucketOf = field(default_factory=BucketOf)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting; `[policy]` and `[brake]` are the model's own.

    `kafka` and `kafka_topic` are librdkafka's, untouched, empty without `[kafka]`. `sources` says for each key that is
    not a default where it was found, `files` for each that lies in a file of its own which.
    """

    flagging: bool = False
    database: Database = field(default_factory=Database)
    minio: Minio = field(default_factory=Minio)
    stream: Stream = field(default_factory=Stream)
    policy: Policy = field(default_factory=Policy)
    brake: Brake = field(default_factory=Brake)
    retention: Retention = field(default_factory=Retention)
    filters: Filters = field(default_factory=Filters)
    purge: Purging = field(default_factory=Purging)
    trash: Trash = field(default_factory=Trash)
    backup: Backup = field(default_factory=Backup)
    canary: Canary = field(default_factory=Canary)
    web: Web = field(default_factory=Web)
    mapping: MappingSettings = field(default_factory=MappingSettings)
    kafka: Mapping[str, Scalar] = _internal()
    kafka_topic: Mapping[str, Scalar] = _internal()
    sources: Mapping[str, str] = _internal()
    files: Mapping[str, str] = _internal()


DERIVED = frozenset({"policy.flagging", "policy.flag"})  # set by `flagging` and `mapping.status.flag`
KNOWN: Mapping[str, Leaf] = {leaf.key: leaf for leaf in leaves(Settings) if leaf.key not in DERIVED}


def load(
    text: Mapping[str, Any], environ: Mapping[str, str], read_file: ReadFile, needed: Sequence[str] = NEEDED
) -> Settings:
    """Return the settings of a parsed TOML document and the environment, which goes first.

    Raises Misconfigured with every fault. `needed` names the keys that must have a value; a command that needs fewer
    servers passes fewer.
    """
    faults: list[str] = []
    kafka, topic = open_keys(Place(text, environ, read_file), faults)
    ours = {section: value for section, value in text.items() if section != "kafka"}
    found = written(KNOWN, Place(ours, environ, read_file), faults)
    values: dict[str, object] = {**typed(KNOWN, found, faults), "kafka": kafka}
    settings = _assemble(values, found, kafka, topic)
    faults += [_unset(key) for key in needed if not values.get(key, key in found)]
    faults += checks.broken(settings)
    if faults:
        raise Misconfigured(*dict.fromkeys(faults))
    return settings


def _assemble(
    values: Mapping[str, object],
    found: Mapping[str, Written],
    kafka: Mapping[str, Written],
    topic: Mapping[str, Written],
) -> Settings:
    """Return the settings, with what one key says of another filled in."""
    events = values.get("stream.topic") or KNOWN["stream.topic"].default
    flag = values.get("mapping.status.flag", KNOWN["mapping.status.flag"].default)
    derived = {
        "policy.flagging": values.get("flagging", False),
        "policy.flag": flag if values.get("mapping.version.status") else None,
        "stream.dead_letter_topic": values.get("stream.dead_letter_topic") or f"{events}.dead-letter",
        "stream.findings_topic": values.get("stream.findings_topic") or f"{events}.findings",
    }
    theirs = {f"kafka.{key}": item for key, item in kafka.items()}
    theirs |= {f"kafka.topic.{key}": item for key, item in topic.items()}
    everything = {**found, **theirs}
    return replace(
        build(Settings, {**values, **derived}),
        kafka={key: scalar(item.value) for key, item in kafka.items()},
        kafka_topic={key: scalar(item.value) for key, item in topic.items()},
        sources={key: item.source for key, item in everything.items()},
        files={key: item.kept_in for key, item in everything.items() if item.kept_in},
    )


def _unset(key: str) -> str:
    if key == "kafka":
        return checks.NO_KAFKA
    section, _, name = key.rpartition(".")
    return f"{key}: is needed and has no value; set {name} under [{section}], or {variable(key)}"


def show(settings: Settings) -> list[tuple[str, str, str]]:
    """Return (key, effective value, source) of every setting, secrets masked."""
    kafka = {f"kafka.{key}": value for key, value in settings.kafka.items()}
    kafka |= {f"kafka.topic.{key}": value for key, value in settings.kafka_topic.items()}
    own = [(key, _shown(leaf, attrgetter(key)(settings))) for key, leaf in KNOWN.items()]
    theirs = [(key, MASK if is_secret(key) else shown(value)) for key, value in kafka.items()]
    return [(key, value, settings.sources.get(key, "default")) for key, value in own + theirs]


def _shown(leaf: Leaf, value: object) -> str:
    if not leaf.secret or not value:
        return shown(value)
    return masked_url(str(value)) if leaf.key == "database.url" else MASK
