"""The loop at a topic that was recreated: it has fewer records than the group had read of the one before."""

import confluent_kafka as ck
import pytest
from confluent_kafka.admin import AdminClient

from tests.support import consuming


@pytest.mark.invariant(2)
def test_offsets_that_begin_anew_are_committed(site):
    """Else the old offset stands until the new topic is as long, and what comes meanwhile is never read again."""
    site.row("a")
    site.put("a")
    site.send([site.created("a")] * 3)
    old = ck.ConsumerGroupTopicPartitions(site.kafka["group.id"], [ck.TopicPartition(site.topic, 0, 20)])
    admin = AdminClient({"bootstrap.servers": site.kafka["bootstrap.servers"], "log_level": 0})
    admin.alter_consumer_group_offsets([old])[site.kafka["group.id"]].result()
    assert site.committed() == {0: 20}
    with consuming.consuming(site.settings()) as consumer:
        consuming.turning(consumer, until_true=lambda: site.committed() == {0: 3}, what="the new topic's end")
