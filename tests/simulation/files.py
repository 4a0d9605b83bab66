"""The objects of a story and what their events tell: in time, late, twice, never, or of what did not happen."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from json import dumps
from urllib.parse import quote_plus

from reconcile.model import ObjectRef
from tests.simulation.broker import Broker
from tests.simulation.servers import Servers
from tests.simulation.stepped import BUCKET
from tests.simulation.storage import etag_of
from tests.simulation.watch import Watch, refs_of

POISON = (b"[" * 3000, None, b"{}", b'{"Records": [{"eventName": "s3:ObjectCreated:Put"}]}')


@dataclass
class Files:
    """The objects, and the events that are late; `last` numbers each reference's last change."""

    servers: Servers
    broker: Broker
    watch: Watch
    counts: Counter[str]
    skew_s: float
    late: list[tuple[str, bytes, set[ObjectRef], int]] = field(default_factory=list)
    removals: list[bytes] = field(default_factory=list)
    last: dict[ObjectRef, int] = field(default_factory=dict)
    number: int = 0

    def put(self, key: str, size: int, fate: str) -> None:
        """Put an object."""
        self.upload(key, b"x" * size, fate)

    def rewrite(self, key: str, size: int, fate: str) -> None:
        """Put an object of another content."""
        self.upload(key, b"y" * size, fate)

    def upload(self, key: str, content: bytes, fate: str) -> None:
        """Put an object of this content."""
        version = self.servers.storage.put(BUCKET, key, content)
        self.happened("ObjectCreated:Put", key, version, content, fate)

    def remove(self, key: str, fate: str) -> None:
        """Remove an object."""
        marker = self.servers.storage.remove(BUCKET, key)
        self.happened(
            "ObjectRemoved:DeleteMarkerCreated" if marker else "ObjectRemoved:Delete", key, marker, None, fate
        )

    def unversion(self, key: str, number: int, fate: str) -> None:
        """Remove a version, if there are so many."""
        versions = self.servers.storage.buckets[BUCKET].get(key, [])
        if len(versions) < -number or not versions[number][0]:
            return
        version, content = versions[number]
        before = versions[-1]
        self.servers.storage.remove(BUCKET, key, version)
        name = "ObjectRemoved:Delete" if content else "ObjectRemoved:DeleteMarkerCreated"
        refs = {ObjectRef(BUCKET, key, version)} if before[0] != version else refs_of(key, version)
        self.happened(name, key, version, None, fate, refs)
        if versions and versions[-1][1] and before[0] == version:  # what comes to light is no event's business
            self.watch.told[ObjectRef(BUCKET, key)] = None
            self.last[ObjectRef(BUCKET, key)] = 0

    def happened(
        self, name: str, key: str, version: str, content: bytes | None, fate: str, refs: set[ObjectRef] | None = None
    ) -> None:
        """Tell of a change of an object, as its fate will have it."""
        self.number += 1
        refs, value = refs or refs_of(key, version), self.event(name, key, version, content)
        for ref in refs:
            self.last[ref] = self.number
            self.watch.told[ref] = None
        self.counts[f"event: {fate}"] += 1
        if fate == "late":
            self.late.append((key, value, refs, self.number))
        elif fate != "lost":
            self.tell(key, value, refs, self.number)
            if fate == "twice":
                self.broker.append(key, value)
        if content is None and fate != "lost":
            self.removals.append(value)

    def tell(self, key: str, value: bytes, refs: set[ObjectRef], number: int) -> None:
        """Write an event to the topic."""
        place = self.broker.append(key, value)
        for ref in refs:
            if self.last[ref] == number:
                self.watch.told[ref] = place

    def event(self, name: str, key: str, version: str, content: bytes | None) -> bytes:
        """Return a record as MinIO writes it."""
        target: dict[str, object] = {"key": quote_plus(key), "versionId": version}
        if content:
            target |= {"size": len(content), "eTag": etag_of(content)}
        now = self.minio_now().isoformat()
        told = {"eventName": f"s3:{name}", "eventTime": now, "s3": {"bucket": {"name": BUCKET}, "object": target}}
        return dumps({"Records": [told]}).encode()

    def minio_now(self) -> datetime:
        """Return MinIO's time, which is nobody else's."""
        return self.servers.now + timedelta(seconds=self.skew_s)

    def deliver(self, number: int) -> None:
        """Let an event come that was late."""
        if self.late:
            self.tell(*self.late.pop(number % len(self.late)))

    def lie(self, key: str, what: str, size: int, number: int) -> None:
        """Tell of what never happened, to one of the versions that there are, or to none."""
        name = "ObjectCreated:Put" if what == "created" else "ObjectRemoved:Delete"
        versions = ["", *(name for name, _ in self.servers.storage.buckets[BUCKET].get(key, []))]
        version = versions[number % len(versions)]
        self.counts["event: a lie"] += 1
        self.counts["event: a lie of a version"] += bool(version)
        self.broker.append(key, self.event(name, key, version, b"x" * size if what == "created" else None))

    def poison(self, number: int) -> None:
        """Write what will not decode."""
        self.watch.poison.add(self.broker.append("poison", POISON[number]))
