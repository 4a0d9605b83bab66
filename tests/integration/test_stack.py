"""The local stack: it answers, ends with its run, and says clearly what is wrong."""

import json
from io import BytesIO

import psycopg
from confluent_kafka import Consumer

from tests.support.waiting import until


def test_an_upload_is_reported_to_the_topic(objects, bucket, kafka):
    """An object put into a bucket is named by a record of the stack's topic."""
    objects.put_object(bucket_name=bucket, object_name="a b", data=BytesIO(), length=0)
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": bucket, "auto.offset.reset": "earliest"})
    consumer.subscribe([kafka.topic])

    def keys():
        return [json.loads(record.value())["Key"] for record in consumer.consume(100, timeout=0.2)]

    until(lambda: f"{bucket}/a b" in keys(), 20, "the record")
    consumer.close()


def test_a_test_database_holds_the_seeds_tables(connection):
    """Each test's database is a copy of the template."""
    assert connection.execute("SELECT count(*) FROM file_versions").fetchone() == (0,)


def test_the_database_prepares_transactions(database):
    """The benchmark's prepared transactions are allowed."""
    with psycopg.connect(database) as connection:
        connection.tpc_begin(connection.xid(1, "one", "two"))
        connection.tpc_prepare()
        connection.tpc_rollback()
