"""What `doctor` looks at: the settings, and each server opened when it is first asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from consumer.kafka.broker import Broker
from consumer.kafka.settings import for_consumer
from reconcile import opening, rows
from reconcile.config.renewal import Kafka
from reconcile.config.settings import Settings
from reconcile.database import Connection, Database
from reconcile.model import Unavailable
from reconcile.store.objects import Objects
from reconcile.tables.catalog import compiled
from reconcile.tables.mapping import Mapping

WAYS_OUT = (  # what the drivers say, whatever the server: the name, the certificate, the word, the way
    (
        r"does not match host ?name|subject name matches|hostname mismatch|not valid for",
        "name the host as its certificate does, or have the certificate name this host (subjectAltName)",
    ),
    (
        r"certificate verify failed|unable to get local issuer|self.signed|root certificate|issuer certificate",
        "name the CA that signed its certificate: {ca}",
    ),
    (
        r"password authentication failed|no password supplied|[Aa]uthentication fail",
        "correct user and password: {word}",
    ),
    (
        r"AUTHORIZATION_FAILED",
        "kafka-acls.sh --add: Describe, DescribeConfigs and Read on our topics, Describe and Read on our group",
    ),
    (r"does not exist", "correct the name: {word}"),
    (
        r"wrong version number|packet length|record overflow|plaintext|speaks TLS|no encryption|does not support SSL",
        "one side speaks TLS, the other does not: {tls}",
    ),
    (r"no pg_hba\.conf entry", "have the server's pg_hba.conf let this user in from here"),
    (r"answers nothing to", 'kafka."security.protocol" must be that of the broker\'s listener'),
    (r"Unsupported SASL mechanism", 'name one that the broker has: kafka."sasl.mechanism"'),
)
KEYS = {
    "postgresql": {
        "ca": "sslrootcert=FILE in database.url",
        "word": "database.url, or RECONCILER_DATABASE__URL_FILE",
        "tls": "sslmode in database.url",
        "place": "start it, or correct database.url",
    },
    "minio": {
        "ca": "minio.ca_file",
        "word": "minio.access_key and minio.secret_key",
        "tls": "http:// or https:// in minio.endpoint",
        "place": "start it, or correct minio.endpoint",
    },
    "kafka": {
        "ca": 'kafka."ssl.ca.location"',
        "word": 'kafka."sasl.username" and "sasl.password"',
        "tls": 'kafka."security.protocol"',
        "place": 'start it, or correct kafka."bootstrap.servers"',
    },
}


@dataclass
class Checked:
    """The settings and what they name."""

    settings: Settings
    database: Database
    store: Objects
    role: str = ""
    _mapping: Mapping | None = field(default=None, repr=False)
    _buckets: Sequence[str] | None = None
    _topics: frozenset[str] = frozenset()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend the connection to the database."""
        with self.database.use() as connection:
            yield connection

    def mapping(self) -> Mapping:
        """Return the mapping over the tables as they are; raises Misconfigured."""
        if self._mapping is None:
            with self.reading() as connection:
                self._mapping = compiled(connection, self.settings.mapping)
        return self._mapping

    def buckets_known(self) -> Sequence[str]:
        """Return the buckets that can be named without reading a row."""
        return self._buckets or opening.named_buckets(self.settings)

    def buckets(self) -> Sequence[str]:
        """Return the buckets that are configured, or else those that live rows name; reads the whole table then."""
        if self._buckets is None:
            self._buckets = opening.named_buckets(self.settings) or self._of_rows()
        return self._buckets

    def _of_rows(self) -> Sequence[str]:
        try:
            with self.reading() as connection:
                return sorted(filter(None, rows.live_counts(connection, self.mapping())))
        except Unavailable:
            return ()

    @property
    def kafka(self) -> Kafka:
        """What librdkafka is told."""
        return Kafka(self.settings)

    def group(self) -> str:
        """Return the consumer group's name."""
        return str(for_consumer(self.kafka)["group.id"])

    @cached_property
    def broker(self) -> Broker:
        """The broker, opened when it is first asked."""
        return Broker(self.kafka)

    def topics(self) -> frozenset[str]:
        """Return the topics there are; raises Unavailable."""
        self._topics = self._topics or self.broker.topics()
        return self._topics

    def way_out(self, outage: Unavailable) -> str:
        """Return what to do about a server that does not let us in, by what it or the driver said."""
        return known_way_out(outage) or KEYS[outage.server]["place"]


def known_way_out(outage: Unavailable) -> str:
    """Return what to do about words that we know, `''` about others."""
    said, keys = str(outage), KEYS[outage.server]
    return next((out.format(**keys) for told, out in WAYS_OUT if re.search(told, said)), "")
