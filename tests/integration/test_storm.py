"""A storm of poison on real servers, and events of what is no longer there."""

import json

import pytest

from tests.support import consuming
from tests.support.consuming import turning

QUICK = {"RECONCILER_POLICY__MISSING_GRACE": "0s", "RECONCILER_FLAGGING": "true"}
ODD = (b"not JSON", b"[" * 2_000, b'{"Records":null}', b'{"Records":[{"eventName":7}]}', b"x" * 990_000)


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


def test_what_is_odd_and_valid_is_looked_at(site):
    """Several events in one record, a name from the future, almost a megabyte: each key is found missing."""
    keys = ("one", "another", "from the future", "large")
    rows = {site.row(key) for key in keys}
    one, another, future, large = (json.loads(site.removed(key)) for key in keys)
    one["Records"] += another["Records"]
    future["Records"][0]["eventName"] = "s3:ObjectTeleported:Away"
    large["Records"][0]["source"]["userAgent"] = "x" * 900_000
    site.send([json.dumps(value).encode() for value in (one, future, large)])
    with consuming.consuming(site.settings(**QUICK)) as consumer:
        total = turning(
            consumer,
            until_true=lambda: site.caught_up() and {site.status(row) for row in rows} == {"corrupted"},
            seconds=40,
        )
    assert not total.acts["buried"]
