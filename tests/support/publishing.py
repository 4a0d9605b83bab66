"""The findings topic, as whoever consumes it reads it; and, as a command, a publisher that dies before it has marked.

The environment is that of the site's program, as in consuming.py.
"""

import os
import secrets
from collections.abc import Sequence
from contextlib import ExitStack, closing

import confluent_kafka as ck
import msgspec

from consumer.duties.duty import do_one
from consumer.duties.outbox import Change, Outbox
from tests.support import consuming
from tests.support.consuming import Site, die
from tests.support.waiting import until

WAITING = "SELECT count(*) FROM reconciler.history WHERE published_at IS NULL"


def outbox(settings, topic: str = "") -> Outbox:
    """Open the outbox as the service does."""
    return Outbox(topic or settings.stream.findings_topic, {**settings.kafka, **settings.kafka_topic})


def published(site: Site, least: int, seconds: float = 20.0) -> list[tuple[str, Change]]:
    """Read the findings topic to its present end as a group of its own; returns (key, change) of so many at least."""
    group = {"group.id": secrets.token_hex(4), "auto.offset.reset": "earliest"}
    read: list[ck.Message] = []
    with closing(ck.Consumer({"bootstrap.servers": site.kafka["bootstrap.servers"], **group})) as reader:
        reader.subscribe([f"{site.topic}.findings"])
        until(lambda: (read.extend(reader.consume(1000, 0.3)), len(read) >= least)[1], seconds, "the changes")
        read += reader.consume(1000, 0.3)
    assert all(message.error() is None for message in read)
    return [(message.key().decode(), msgspec.json.decode(message.value(), type=Change)) for message in read]


def acts(read: Sequence[tuple[str, Change]], key: str) -> list[str]:
    """Return what was told of one key, in the order of its telling."""
    return [change.act for _, change in read if change.key == key]


def main() -> None:
    """Publish once, and be killed between the broker's confirmation and the mark."""
    settings = consuming.settings_of(dict(os.environ))
    with ExitStack() as exits:
        world = consuming.world(settings, exits, f"child {os.getpid()}")
        box = outbox(settings)
        box.mark = lambda *_: die()  # type: ignore[method-assign]
        do_one(world, box.duty(), lambda *_: True)


if __name__ == "__main__":
    main()
