"""What the metrics cost the stream: of a run's time the part that goes into counting, and into a scrape a second.

`make bench-metrics`. Healthy events through the real loop, which counts as the service does, and serves what it counted
to a scraper in another process; Prometheus asks fifteen times more rarely. Each call is timed in the run itself, since
between two runs the machine alone differs by more than the goal.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks import filling
from benchmarks.figures import Table, about
from benchmarks.measuring import measure
from benchmarks.serving import loop
from benchmarks.stream import ROWS, Place, Watched, commanded, filled, healthy
from consumer.counting import Counting
from consumer.stream.latency import Latency
from consumer.web import Probes, Site, Web
from deploy.local.stack import Servers

LABELS = {
    "share": "of the run's time spent on metrics (goal 0.02)",
    "counting": "of it in counting",
    "scraping": "of it in answering scrapes",
    "scrapes": "scrapes",
    "metered": "with metrics, events/s",
    "plain": "without, events/s",
}
SCRAPE_S = 1
SCRAPER = """
import sys, time, urllib.request
while True:
    urllib.request.urlopen(sys.argv[1]).read()
    time.sleep(float(sys.argv[2]))
"""


@dataclass
class Timed:
    """Adds up the time that calls take; one thread at a time."""

    spent: float = 0.0
    calls: int = 0

    def __call__(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same work, timed."""

        def timed(*args: Any) -> Any:
            began = time.perf_counter()
            try:
                return work(*args)
            finally:
                self.spent += time.perf_counter() - began
                self.calls += 1

        return timed


@contextmanager
def scraped(counting: Counting, answering: Timed, stop: threading.Event) -> Iterator[None]:
    """Serve what was counted, and have it asked for."""
    site = Site(Probes(counting, None))  # type: ignore[arg-type]  # no probe is asked for
    web = Web(answering(site), "127.0.0.1", 0)
    thread = threading.Thread(target=web.run, args=(stop.wait,))
    thread.start()
    with subprocess.Popen(
        [sys.executable, "-c", SCRAPER, f"http://127.0.0.1:{web.port}/metrics", str(SCRAPE_S)]
    ) as scraper:
        yield
        scraper.terminate()
    stop.set()
    thread.join()
    web.close()


def metered(place: Place) -> dict[str, float]:
    """Run the loop until every offset is committed, and time what is done for metrics alone."""
    counting, answering = Timed(), Timed()
    with loop(place.settings(), noted=lambda topic: Watched(topic, lambda _: None)) as (consumer, service):
        latency = Latency(service.counting.took)
        latency_read, latency_committed = counting(latency.read), counting(latency.committed)
        consumer.latency = _Heard(latency, latency_read, latency_committed)  # type: ignore[assignment]
        turned = counting(service.counting.turned)
        topic: Any = consumer.topic
        with scraped(service.counting, answering, service.stop):
            while topic.read < place.events or len(consumer.hold):
                turned(consumer.turn(), topic.assigned())
            took = time.perf_counter() - topic.began
    shares = {"counting": counting.spent / took, "scraping": answering.spent / took}
    return {"rate": place.events / took, "scrapes": answering.calls, "share": sum(shares.values()), **shares}


@dataclass
class _Heard:
    latency: Latency
    read: Callable[..., Any]
    committed: Callable[..., Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.latency, name)


MEASUREMENTS = {"plain": healthy, "metered": metered}


def run(servers: Servers, events: int, rounds: int) -> None:
    """Fill, measure in turn, and print the table."""
    place = filled(servers, events)
    table = Table(
        "metrics",
        LABELS,
        about(servers, f"{ROWS:,} rows, {events:,} events, a scrape each {SCRAPE_S} s", "confluent-kafka"),
    )
    rows = (number % ROWS for number in range(events))
    filling.produce(place.bootstrap, place.topic, filling.uploads(place.bucket, place.prefix, rows))
    for number in range(rounds):
        print(f"round {number + 1}")
        found = {name: measure("benchmarks.metered", name, place) for name in MEASUREMENTS}
        table.note_all(found["metered"] | {name: one["rate"] for name, one in found.items()})
    table.show()


if __name__ == "__main__":
    commanded(MEASUREMENTS, run, "what the metrics cost the stream", 500_000)
