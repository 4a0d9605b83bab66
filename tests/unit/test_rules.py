"""The rules between settings, each told on its own."""

from __future__ import annotations

import pytest

from tests.support.configuration import faults


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("database = 'postgresql://x'", "database: is a table; write its keys under [database]"),
        ("[database]\nurl = {a = 1}", "must be a string"),
        ("[stream]\nexpress = 1", "must be true or false"),
        ("[stream]\nbatch = true", "must be a whole number"),
        ("[filters]\ninclude = 'a'\nexclude = [1.5]", "must be a string, in quotes"),
        ("[stream]\narn = 'RECON'", "must be that of MinIO's target"),
        ("[stream]\ndialect = 'aws'", "stream.dialect = 'aws': must be minio, as"),
        ("[stream]\ntopic = 'a'\nfindings_topic = 'a'", "is the events' topic itself"),
        ("kafka = 'k:9092'", "write librdkafka's keys under [kafka]"),
        ("kafka.topic = 'events'", "the events' topic is stream.topic"),
        ("kafka = {'group.id' = 'x'}", '"bootstrap.servers" is needed'),
        ("kafka = {'bootstrap.servers' = ['a']}", "servers = ['a']: must be a string, a number, true or false"),
        ("kafka = {'sasl.password' = ['a']}", "kafka.sasl.password = ***: must be a string"),
        ("kafka = {'bootstrap.servers' = 'a', 'enable.auto.commit' = true}", "kafka.enable.auto.commit"),
        ("kafka = {'bootstrap.servers' = 'a', 'enable.auto.offset.store' = 'TRUE'}", "kafka.enable.auto.offset.store"),
        ("flagging = true", "no column is mapped that could carry a flag"),
        ("[mapping]\nversion = {table = 'a.b.c', key = 'k'}", "must be table or schema.table"),
        ("[mapping]\nversion = {table = 't', key = 'a{version.b'}", "has a part at '{version.b'"),
        ("[mapping]\nversion = {table = 't', key = '{file.b}'}", "of a table that is not mapped"),
        ("[mapping]\nversion = {table = 't', key = 'k'}\nowner = 'file.o'", "of a table that is not mapped"),
        ("[mapping]\nversion = {table = 't', key = 'k'}\nfile = {table = 'f'}", "set mapping.version.file_id"),
        ("[mapping]\nversion = {table = 't', key = 'k'}\nfile = {deleted = 'f'}", "set mapping.file.table"),
        ("[mapping]\nversion = {table = 't', key = 'k'}\nstatus = {live = ['a']}", "set mapping.version.status"),
        (
            "[mapping]\nversion = {table = 't', key = 'k', status = 's'}\nstatus = {live = ['corrupted']}",
            "which is the flag",
        ),
        (
            "[mapping]\nversion = {table = 't', key = 'k', status = 's'}\nstatus = {live = [1], expects_absence = [1]}",
            "a status means one thing",
        ),
        ("[mapping]\nversion = {table = 't', key = 'k'}\nbucket = {}", "mapping.bucket: is needed"),
        (
            "[mapping]\nversion = {table = 't', key = 'k'}\nbucket = {name = 'b', map = {a = 'b'}}",
            "set mapping.bucket.column",
        ),
    ],
)
def test_a_fault_says_the_rule(text, told):
    """Each rule between settings is told on its own."""
    assert any(told in fault for fault in faults(text)), faults(text)
