"""A member whose driver reaches no broker any more, while the broker answers everybody else."""

import secrets
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from consumer.kafka import member as driver
from consumer.kafka.topic import Topic
from consumer.kafka.topics import WantedTopic, create_topics
from deploy.local import kafka as kafkas
from deploy.local.place import Place, Way
from reconcile.model import Unavailable
from tests.integration.test_kafka import PROTOCOLS, write
from tests.support.detour import detour
from tests.support.proxy import Proxy
from tests.support.waiting import until


@pytest.fixture
def aside(stack_place):
    """Start a broker with a second listener, whose clients are sent to a proxy; yields the broker and the proxy."""
    if stack_place.way is not Way.NATIVE:
        pytest.skip("a broker that is not started by its jars has no second listener")
    with tempfile.TemporaryDirectory(prefix="reconciler-lost-") as directory, ExitStack() as exits:
        ports = exits.enter_context(detour())
        broker = kafkas.find_or_start(Place(Path(directory), exits, stack_place.way, stack_place.network))
        yield broker, exits.enter_context(Proxy("127.0.0.1", ports.broker, ports.proxy))


@pytest.mark.invariant(2)
def test_a_member_whose_driver_is_lost_joins_anew(aside, monkeypatch):
    """While nobody else is answered either it waits; then it joins by what its settings say now, and reads on."""
    monkeypatch.setattr(driver, "SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(driver, "LOST_SECONDS", 1.0)
    broker, proxy = aside
    direct = {"bootstrap.servers": broker.bootstrap}
    stream = f"lost-{secrets.token_hex(4)}"
    create_topics(direct, [WantedTopic(stream, 4), WantedTopic(f"{stream}.dead-letter", 1)])
    settings = {"bootstrap.servers": f"127.0.0.1:{proxy.port}", "group.id": stream, "log_level": 0} | PROTOCOLS[
        "classic"
    ]
    member = Topic(stream, settings)
    seen = set()

    def read_on(wanted) -> bool:
        try:
            seen.update((one.partition, one.offset) for one in member.poll(0.1).records)
        except Unavailable as outage:
            ends = iter([False] * 5)
            member.wait_out(outage, lambda: next(ends, True))
        return wanted <= seen

    first = write(direct, stream, 20)
    until(lambda: read_on(first), 30, "it reads")
    proxy.stop()
    second = write(direct, stream, 20, 20)
    with pytest.raises(Unavailable):
        until(lambda: member.poll(0.1).records, 30, "it notices")
    assert not member.answers()
    settings |= direct
    until(lambda: read_on(second), 40, "it reads on")
    member.close()
