"""Asks a consumer over HTTP, and reads its metrics as Prometheus does."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.support.waiting import until

Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True)
class Asked:
    """An answer: its status, its body, its headers."""

    status: int
    text: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Page:
    """Where a consumer serves."""

    port: int

    def ask(self, path: str, method: str = "GET") -> Asked:
        """Ask for one path."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return Asked(answer.status, answer.read().decode(), dict(answer.getheaders()))
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """Tell whether a consumer serves here, and is ready."""
        try:
            return self.ask("/readyz").status == 200
        except OSError:
            return False

    def series(self) -> Series:
        """Scrape, and return every sample by name and labels."""
        return parsed(self.ask("/metrics").text)

    def value(self, name: str, **labels: str) -> float | None:
        """Return one sample, None where it is not there."""
        return self.series().get((name, frozenset(labels.items())))


def parsed(text: str) -> Series:
    """Read an exposition with Prometheus' own parser."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def page(program) -> Page:
    """Return where the running command serves, once it says so (its log must be JSON)."""

    def told() -> int:
        lines = [json.loads(line) for line in program.log().splitlines() if line.startswith('{"') and line[-1] == "}"]
        return next((line["port"] for line in lines if line["event"] == "web.listening"), 0)

    return Page(until(told, 20, "it listens for scrapes"))
