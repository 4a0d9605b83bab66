"""A range of a topic on a real broker: it is read to its end, or it is said why not."""

import secrets

import pytest

from consumer.kafka_range import RangeReader
from reconcile.model import Unavailable
from tests.support import consuming
from tests.support.waiting import until


@pytest.fixture
def site(tmp_path, database, minio, kafka, topic):
    """Make an application with a topic to which the test alone writes."""
    with consuming.site(tmp_path, database, minio, kafka.bootstrap, topic) as made:
        yield made


@pytest.mark.timeout(60)
def test_a_broker_that_goes_away_ends_the_reading(site, kafka):
    """The driver would wait for ever; once the broker is back the same range is read to its end."""
    wanted = site.send([secrets.token_bytes(10) for _ in range(5)])

    def read(reader: RangeReader) -> list[int]:
        reader.start(ranges)
        found = []
        until(lambda: (found.extend(one.offset for one in reader.read(0.1, 10)), reader.is_over)[1], 40)
        return found

    with RangeReader(site.topic, site.kafka, quiet_s=0.5) as reader:
        ranges = reader.ranges("earliest")
        kafka.control.freeze()
        try:
            with pytest.raises(Unavailable, match="kafka"):
                read(reader)
        finally:
            kafka.control.thaw()
        assert read(reader) == wanted
