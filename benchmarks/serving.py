"""Opens the consumer's real loop as the service does, without its other threads: what every measurement runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Any

from consumer.kafka.topic import Topic
from consumer.service import Service, settle_memory, stream_of
from consumer.stream.hold import Hold
from consumer.stream.loop import Consumer
from reconcile.config.settings import Settings
from reconcile.opening import objects
from reconcile.steps import Tally


@contextmanager
def loop(
    settings: Settings,
    options: Mapping[str, object] = MappingProxyType({}),
    noted: Callable[[Topic], Any] = lambda topic: topic,
) -> Iterator[tuple[Consumer, Service]]:
    """Yield a loop that reads the settings' topic, with some options of the driver; `noted` may look over its topic."""
    settle_memory()
    service = Service(settings, threading.Event())
    with ExitStack() as exits:
        topic = noted(Topic(settings.stream.topic, {**settings.kafka, **options}))
        exits.callback(topic.close)
        world = service.world(service.mapping(), exits.enter_context(objects(settings)))
        yield Consumer(topic, world, Hold(), stream_of(service)), service


def until_sigterm(consumer: Consumer, service: Service, count: Callable[[Tally], None] = lambda _: None) -> None:
    """Take turns until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: service.stop.set())
    consumer.run(service.stop.is_set, count)
