"""`consume`: the always-on consumer."""

from __future__ import annotations

import signal
import threading

from consumer.commands.answer import Answer
from consumer.commands.call import Call
from reconcile.model import Misconfigured
from reconcile.report import Section
from reconcile.settings import NEEDED


def consume(call: Call) -> Answer:
    """Consume until SIGTERM or Ctrl-C; observes only, unless `flagging = true`."""
    from consumer.service import serve, words  # noqa: PLC0415 - the drivers are loaded by those who need them

    settings = call.settings(*NEEDED)
    if "bootstrap.servers" not in settings.kafka:
        raise Misconfigured(
            'kafka."bootstrap.servers": is needed to consume and has no value; set it under [kafka], '
            "or use `sweep`, which needs no Kafka"
        )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return Answer(Section("consumed", "", {name: str(count) for name, count in words(serve(settings, stop)).items()}))
