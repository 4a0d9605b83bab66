"""What MinIO itself tells of lost events: that it was restarted, that it counts more of them. It is a server apart."""

import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pytest

from consumer.duties.duty import do_one
from consumer.duties.losswatch import Watch, wanted
from consumer.duties.passed import FIGURES, TOKEN_LIFE, bearer, figures_of
from deploy.local import minio as minios
from deploy.local.place import Place, Way
from reconcile.opening import named_buckets
from tests.support import consuming, storage
from tests.support.waiting import until

ROOM = 5  # of MinIO's queue, which holds a hundred thousand by default


def small(*names: str) -> dict[str, str]:
    """Return MinIO's settings with a queue that is soon full."""
    return {**SETTINGS(*names), "MINIO_NOTIFY_KAFKA_QUEUE_LIMIT_RECON": str(ROOM)}


SETTINGS = minios.settings


@pytest.fixture
def own(stack_place, kafka):
    """Start a MinIO with a small queue, which reports to the stack's broker."""
    if stack_place.way is Way.ENVIRONMENT:
        pytest.skip("servers that are named by the environment are not configured here")
    with tempfile.TemporaryDirectory(prefix="reconciler-losses-") as directory, ExitStack() as exits:
        place = Place(Path(directory), exits, stack_place.way, stack_place.network)
        with patch.object(minios, "settings", small):
            minio = minios.find_or_start(place, kafka)
        yield minio


@pytest.fixture
def site(tmp_path, database, own, kafka):
    """Make an application whose bucket reports to the topic."""
    with consuming.site(tmp_path, database, own, kafka.bootstrap, kafka.topic, storage.new_bucket(own)) as made:
        yield made


@pytest.mark.invariant(2)
def test_a_restart_and_events_that_minio_drops_are_noticed_and_a_queue_that_waits_is_none(site, own, kafka):
    """While the broker is away events wait, also over a restart: no loss. What finds no room is dropped: one."""
    with ExitStack() as exits:
        settings = site.settings()
        world = consuming.world(settings, exits, "watch")
        watch = Watch(site.topic, dict(settings.kafka), world.objects, named_buckets(settings), exits)

        def told() -> dict[str, str]:
            do_one(world, watch.duty(), lambda *_: True)
            return {reason: detail for _, _, reason, *_, detail in wanted(site.connection)}

        def waiting() -> float:
            token = bearer(own.user, own.password, datetime.now(UTC) + TOKEN_LIFE)  # noqa: TID251
            return sum(queue.length for queue in figures_of(world.objects.metrics(FIGURES, token).decode()).queues)

        assert told() == {}
        kafka.control.kill()
        exits.callback(kafka.control.start)
        site.put("waits")
        own.control.kill()
        assert told() == {}
        own.control.start()
        until(lambda: "minio_restarted" in told() and waiting() == 1, 30, "the restart, and the queue that outlived it")
        assert told().keys() == {"minio_restarted"}
        for number in range(3 * ROOM):
            site.put(f"k{number}")
        until(lambda: "minio_events_lost" in told(), 40, "the dropped ones")
        assert "minio_notify_" in told()["minio_events_lost"]
