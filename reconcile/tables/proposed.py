"""A proposed mapping as a whole reconciler.toml, each line with why it was chosen. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from reconcile.tables.proposal import Choice, Proposed

SECTIONS = ("", "version", "file", "status", "bucket")
UNCERTAIN = "UNCERTAIN: "
ONE = "# A proposal of `storage-reconciler config generate`, from the names and types of the tables that were found."
TWO = (
    "# Nothing is decided: look at every line, those that say UNCERTAIN first; then `storage-reconciler config check`."
)


class Servers(NamedTuple):
    """What is known of the servers; no secret."""

    database: str
    endpoint: str
    access_key: str
    kafka: str


def toml(found: Proposed, servers: Servers) -> str:
    """Return the file."""
    return "\n".join([*_head(found), *_servers(servers), *_mapping(found.choices)]) + "\n"


def _head(found: Proposed) -> Iterator[str]:
    yield from (ONE, TWO)
    for fault in found.faults:
        yield f"# TO DO: {_line(fault)}"
    for fault in found.before_flagging:
        yield f"# Before flagging = true: {_line(fault)}"
    if found.others:
        yield f"# Other tables that might hold the keys (--table NAME): {_line(', '.join(found.others))}"


def _servers(servers: Servers) -> Iterator[str]:
    yield from ("", "# flagging = false  # true: mark the rows whose object is missing; until then only observe")
    yield from ("", "[database]")
    yield f"url = {_value(servers.database)}  # with its password: RECONCILER_DATABASE__URL or …_URL_FILE"
    yield from ("", "[minio]")
    yield f"endpoint = {_known(servers.endpoint, 'http://localhost:9000', 'where MinIO is')}"
    yield f"access_key = {_known(servers.access_key, 'reconciler', 'which user of MinIO we are')}"
    yield '# secret_key_file = "/run/secrets/minio"  # or RECONCILER_MINIO__SECRET_KEY, or …_SECRET_KEY_FILE'
    if servers.kafka:
        yield from ("", "[kafka]", f'"bootstrap.servers" = {_value(servers.kafka)}')
    else:
        yield from ("", "# [kafka]  # without it there is no consumer; sweeping and explaining work")
        yield '# "bootstrap.servers" = "localhost:9092"'


def _mapping(choices: Sequence[Choice]) -> Iterator[str]:
    for section in SECTIONS:
        lines = [one for one in choices if one.key.rpartition(".")[0] == section]
        if lines:
            yield from ("", f"[mapping.{section}]" if section else "[mapping]")
        for one in lines:
            line = f"{one.key.rpartition('.')[2]} = {_value(one.value)}"
            why = f"{'' if one.sure else UNCERTAIN}{_line(one.why)}"
            yield f"{'' if one.taken else '# '}{line}  # {why}"


def _known(value: str, guess: str, asked: str) -> str:
    """Return a value, or one in its place that says what is not known."""
    return _value(value) if value else f"{_value(guess)}  # {UNCERTAIN}{asked}"


def _value(value: object) -> str:
    """Return a value as TOML writes it: for texts, lists of them and booleans JSON's form is the same."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _line(text: str) -> str:
    """Return a text that stays within one comment."""
    return "".join(char if char.isprintable() else " " for char in text)
