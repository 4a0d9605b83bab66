"""Where MinIO sends its events, and whether at once, as its own configuration says. Pure.

The text is that of `mc admin config get`: a line of `key=value` for each target, before it those that the environment
sets, which go first, as comments.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')
_LINE = re.compile(r"^notify_kafka(?::(\S+))? (.*)$", re.MULTILINE)
_KEYS = "ENABLE|BROKERS|TOPIC|QUEUE_DIR|BATCH_SIZE"
_VARIABLE = re.compile(rf"^# MINIO_NOTIFY_KAFKA_({_KEYS})(?:_(\S+?))?=(.*)$", re.MULTILINE)
_SYNC = re.compile(r"^# MINIO_API_SYNC_EVENTS=(\S+)|\bsync_events=(\S+)", re.MULTILINE)
_DEFAULT = "_"  # the name of the target without a name
_ON = frozenset({"on", "true", "1", "yes"})


class Target(NamedTuple):
    """A Kafka target that is on: its name, and what decides whether it loses events."""

    name: str
    topic: str
    queue_dir: str
    batch_size: str

    @property
    def batches(self) -> bool:
        """Whether events wait in memory to be stored together."""
        return self.batch_size not in {"", "0", "1"}


def targets(text: str) -> list[Target]:
    """Return the Kafka targets that are on."""
    found: dict[str, dict[str, str]] = {}
    for name, pairs in _LINE.findall(text):
        found[name or _DEFAULT] = {key: value.strip('"') for key, value in _PAIR.findall(pairs)}
    for key, name, value in _VARIABLE.findall(text):
        found.setdefault(name or _DEFAULT, {})[key.lower()] = value.strip()
    return [
        Target(name, told.get("topic", ""), told.get("queue_dir", ""), told.get("batch_size", ""))
        for name, told in sorted(found.items())
        if told.get("enable", "on" if name != _DEFAULT and told else "off").lower() in _ON
    ]


def is_synchronous(text: str) -> bool:
    """Tell whether an event is stored before the request that caused it ends."""
    found = sorted(_SYNC.findall(text), key=lambda pair: not pair[0])  # the environment goes first
    return bool(found) and (found[0][0] or found[0][1]).lower() in _ON
