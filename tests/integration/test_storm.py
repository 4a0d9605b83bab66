"""A storm of poison on real servers, and events of what is no longer there."""

import pytest

from tests.support import consuming
from tests.support.consuming import turning

QUICK = {"RECONCILER_POLICY__MISSING_GRACE": "0s", "RECONCILER_FLAGGING": "true"}
ODD = (b"not JSON", b"[" * 2_000, b'{"Records":null}', b'{"Records":[{"eventName":7}]}', b"x" * 990_000)


@pytest.fixture
def site(tmp_path, database, minio, kafka, topic):
    """Make an application."""
    with consuming.site(tmp_path, database, minio, kafka.bootstrap, topic) as made:
        yield made


@pytest.mark.invariant(2)
def test_where_every_second_record_is_poison_the_others_are_served(site):
    """Each poison is buried once, each removal is flagged, and the offset passes them all."""
    keys = [f"gone/{number}" for number in range(15)]
    rows = [site.row(key) for key in keys]
    site.send([one for number, key in enumerate(keys) for one in (ODD[number % len(ODD)], site.removed(key))])
    with consuming.consuming(site.settings(**QUICK)) as consumer:
        total = turning(
            consumer,
            until_true=lambda: site.caught_up() and {site.status(row) for row in rows} == {"corrupted"},
            seconds=40,
        )
    assert total.acts["buried"] == len(keys)
    assert len(site.letters(wanted=len(keys))) == len(keys)


@pytest.mark.invariant(1)
def test_an_event_of_a_bucket_that_no_longer_exists_proves_nothing(site):
    """It is valid, so it is no poison: its key is unknown, its offset passes, and no row is touched."""
    row = site.row("a")
    site.client.remove_bucket(bucket_name=site.bucket)
    site.send([site.removed("a"), site.created("b")])
    with consuming.consuming(site.settings(**QUICK)) as consumer:
        total = turning(consumer, until_true=site.caught_up)
    assert total.unknown
    assert not total.acts["buried"]
    assert (site.status(row), site.open()) == ("active", set())
