"""What MinIO itself tells of lost events: that it was restarted, that it counts more of them. It is a server apart."""

from contextlib import ExitStack
from datetime import UTC, datetime
from unittest.mock import patch

import psycopg
import pytest

from consumer.duties import do_one
from consumer.losswatch import Watch, wanted
from consumer.passed import FIGURES, TOKEN_LIFE, bearer, figures_of
from consumer.service import buckets_of
from deploy.local import minio as minios
from deploy.local.stack import stack
from tests.support import consuming, databases, storage
from tests.support.waiting import until

ROOM = 5  # of MinIO's queue, which holds a hundred thousand by default


def small(*names: str) -> dict[str, str]:
    """Return MinIO's settings with a queue that is soon full."""
    return {**SETTINGS(*names), "MINIO_NOTIFY_KAFKA_QUEUE_LIMIT_RECON": str(ROOM)}


SETTINGS = minios.settings


@pytest.fixture(scope="module")
def own(shown):
    """Start servers that this module alone uses."""
    with ExitStack() as opened:
        with shown(), patch.object(minios, "settings", small):
            servers = opened.enter_context(stack())
        yield servers


@pytest.fixture
def site(tmp_path, own):
    """Make an application whose bucket reports to the topic."""
    with databases.new_database(own.postgres) as url:
        with psycopg.connect(url) as connection:
            databases.fill(connection)
        bucket = storage.new_bucket(own.minio)
        with consuming.site(tmp_path, url, own.minio, own.kafka.bootstrap, own.kafka.topic, bucket) as made:
            yield made


@pytest.mark.invariant(2)
def test_a_restart_and_events_that_minio_drops_are_noticed_and_a_queue_that_waits_is_none(site, own):
    """While the broker is away events wait: no loss. What comes beyond the queue's room is dropped: one."""
    with ExitStack() as exits:
        settings = site.settings()
        world = consuming.world(settings, exits, "watch")
        watch = Watch(site.topic, dict(settings.kafka), world.objects, buckets_of(settings), exits)

        def told() -> dict[str, str]:
            do_one(world, watch.duty(), lambda *_: True)
            return {reason: detail for _, _, reason, *_, detail in wanted(site.connection)}

        def waiting() -> float:
            token = bearer(own.minio.user, own.minio.password, datetime.now(UTC) + TOKEN_LIFE)  # noqa: TID251
            return sum(queue.length for queue in figures_of(world.objects.metrics(FIGURES, token).decode()).queues)

        assert told() == {}
        own.minio.control.kill()
        assert told() == {}
        own.minio.control.start()
        until(lambda: "minio_restarted" in told(), 30, "the restart")
        own.kafka.control.kill()
        site.put("waits")
        until(lambda: waiting() == 1, 30, "the queue holds it")
        assert told().keys() == {"minio_restarted"}
        for number in range(3 * ROOM):
            site.put(f"k{number}")
        until(lambda: "minio_events_lost" in told(), 40, "the dropped ones")
        assert "minio_notify_" in told()["minio_events_lost"]
        own.kafka.control.start()
