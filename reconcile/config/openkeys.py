"""Reads `[kafka]` and `[kafka.topic]`, whose keys are librdkafka's: none is unknown, all keep their own names.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from reconcile.config.loading import PREFIX, Place, Written, from_file, overridden, variable
from reconcile.config.values import MASK

Scalar: TypeAlias = str | int | float | bool
SECRETIVE = re.compile(
    r"password|secret|passphrase|private|\.pem\b|key\.pem|oauthbearer\.config|credential", re.IGNORECASE
)


def scalar(value: object) -> Scalar:
    """Return a value as librdkafka takes it."""
    return value if isinstance(value, str | int | float | bool) else str(value)


def is_secret(key: str) -> bool:
    """Tell whether one of librdkafka's keys holds what must not be shown."""
    return bool(SECRETIVE.search(key))


def open_keys(place: Place, faults: list[str]) -> tuple[dict[str, Written], dict[str, Written]]:
    """Return the keys of `[kafka]` and those of `[kafka.topic]`; the environment goes before the file."""
    table = place.text.get("kafka", {})
    if not isinstance(table, Mapping):
        faults.append("kafka: is a table; write librdkafka's keys under [kafka]")
        table = {}
    topic = table.get("topic", {})
    rest = {key: value for key, value in table.items() if key != "topic"}
    kafka = dict(_from_text(place, rest, "kafka", faults)) | dict(_from_environ(place, "KAFKA__", faults))
    if not isinstance(topic, Mapping):
        faults.append("kafka.topic: is a table for librdkafka's topic keys; the events' topic is stream.topic")
        topic = {}
    return kafka, dict(_from_text(place, topic, "kafka.topic", faults)) | dict(
        _from_environ(place, "KAFKA__TOPIC__", faults)
    )


def _from_text(
    place: Place, table: Mapping[str, object], section: str, faults: list[str], prefix: str = ""
) -> Iterator[tuple[str, Written]]:
    """Yield dotted keys, quoted or not: TOML reads an unquoted `group.id` as a table.

    None of librdkafka's own ends in `_file`.
    """
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _from_text(place, value, section, faults, f"{prefix}{name}.")
        elif name.endswith("_file"):
            whole = f"{prefix}{name.removesuffix('_file')}"
            if not overridden(f"{variable(section)}__{whole.replace('.', '_').upper()}", place):
                for _, item in from_file(f"{section}.{whole}", str(value), "file", place, faults):
                    yield whole, item
        elif isinstance(value, str | int | float | bool):
            yield f"{prefix}{name}", Written(value, "file")
        else:
            key = f"{section}.{prefix}{name}"
            quoted = MASK if is_secret(key) else repr(value)
            faults.append(f"{key} = {quoted}: must be a string, a number, true or false")


def _from_environ(place: Place, section: str, faults: list[str]) -> Iterator[tuple[str, Written]]:
    """Yield RECONCILER_KAFKA__GROUP_ID as 'group.id'."""
    for name, value in sorted(place.environ.items()):
        if not name.startswith(PREFIX + section) or "__" in name.removeprefix(PREFIX + section):
            continue
        key = name.removeprefix(PREFIX + section).lower().replace("_", ".")
        if key.endswith(".file"):
            yield from from_file(key.removesuffix(".file"), value, name, place, faults)
        else:
            yield key, Written(value, name)
