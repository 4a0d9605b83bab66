"""Reads a tree of frozen dataclasses from a TOML document and the environment, with all faults at once.

Knows how a key is written in both places, and no key in particular. A secret never enters a fault. Pure: files are
read through a function that is passed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple, TypeVar, get_type_hints

from reconcile.config.values import MASK, Unfit, fit, within

PREFIX = "RECONCILER_"
ELSEWHERE = re.compile(r"RECONCILER_(CONFIG|SERVERS|TOOLS|TEST_.*|KAFKA__.*)")  # read elsewhere
INTERNAL = "internal"
THERE = (PermissionError, IsADirectoryError, UnicodeDecodeError)  # so that what was written is a path

ReadFile = Callable[[str], str]
Shape = TypeVar("Shape")


class Leaf(NamedTuple):
    """One key: its dotted name, its type, its default, and what its field says besides."""

    key: str
    kind: object
    default: object
    secret: bool
    least: float
    most: float | None


class Written(NamedTuple):
    """A value as it was found, and where: 'file' or an environment variable's name; `kept_in` is a file of its own."""

    value: object
    source: str
    kept_in: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where values come from."""

    text: Mapping[str, Any]
    environ: Mapping[str, str]
    read_file: ReadFile


def leaves(shape: type, prefix: str = "") -> Iterator[Leaf]:
    """Yield every key below a dataclass, in the order of its fields."""
    hints = get_type_hints(shape)
    for item in fields(shape):
        if INTERNAL in item.metadata:
            continue
        if is_dataclass(hints[item.name]):
            yield from leaves(hints[item.name], f"{prefix}{item.name}.")
        else:
            yield _leaf(f"{prefix}{item.name}", hints[item.name], item)


def _leaf(key: str, kind: object, item: Field[Any]) -> Leaf:
    default = item.default_factory() if item.default_factory is not MISSING else item.default
    most = 1 if kind is float else None  # every fraction is a share
    return Leaf(
        key,
        kind,
        default,
        bool(item.metadata.get("secret")),
        item.metadata.get("least", 0),
        item.metadata.get("most", most),
    )


def build(shape: type[Shape], values: Mapping[str, object], prefix: str = "") -> Shape:
    """Return the dataclass with the given values; what is not given keeps its default."""
    hints = get_type_hints(shape)
    arguments: dict[str, object] = {}
    for item in fields(shape):  # type: ignore[arg-type]  # every shape is a dataclass
        key = f"{prefix}{item.name}"
        if is_dataclass(hints[item.name]):
            arguments[item.name] = build(hints[item.name], values, f"{key}.")
        elif key in values:
            arguments[item.name] = values[key]
    return shape(**arguments)


def written(known: Mapping[str, Leaf], place: Place, faults: list[str]) -> dict[str, Written]:
    """Return what is written for each known key; the environment goes before the file. Adds to `faults`."""
    found = dict(_from_text(known, place.text, place, faults))
    found.update(_from_environ(known, place, faults))
    return found


def typed(known: Mapping[str, Leaf], found: Mapping[str, Written], faults: list[str]) -> dict[str, object]:
    """Return the typed value of each written key. Adds to `faults`."""
    values: dict[str, object] = {}
    for key, item in found.items():
        try:
            value = fit(known[key].kind, item.value)
            values[key] = within(value, known[key].least, known[key].most) if isinstance(value, int | float) else value
        except Unfit as rule:
            faults.append(f"{named(key, item)}{_quoted(known[key], item.value)}: {rule}")
    return values


def named(key: str, item: Written) -> str:
    """Return a key's name, with the environment variable that set it."""
    return key if item.source == "file" else f"{key} (from {item.source})"


def variable(key: str) -> str:
    """Return the environment variable that sets a key."""
    return PREFIX + key.replace(".", "__").upper()


def overridden(name: str, place: Place) -> bool:
    """Tell whether the environment sets what the document has in a file, which then is not read."""
    return name in place.environ or f"{name}_FILE" in place.environ


def _quoted(leaf: Leaf, value: object) -> str:
    return f" = {MASK}" if leaf.secret else f" = {value!r}"


def _from_text(
    known: Mapping[str, Leaf], table: Mapping[str, Any], place: Place, faults: list[str], prefix: str = ""
) -> Iterator[tuple[str, Written]]:
    """Yield the keys of a document; tables that are not a value themselves are descended into."""
    for name, value in table.items():
        key = f"{prefix}{name}"
        whole = key.removesuffix("_file")
        if key in known:
            yield key, Written(value, "file")
        elif whole in known:
            if not overridden(variable(whole), place):
                yield from from_file(whole, str(value), "file", place, faults)
        elif isinstance(value, Mapping) and _is_section(known, key):
            yield from _from_text(known, value, place, faults, f"{key}.")
        elif _is_section(known, key):
            faults.append(f"{key}: is a table; write its keys under [{key}]")
        else:
            faults.append(f"{key}: no such key{_did_you_mean(key, [*known, *_sections(known)])}")


def _sections(known: Iterable[str]) -> set[str]:
    return {"kafka", *(key[:at] for key in known for at, letter in enumerate(key) if letter == ".")}


def _is_section(known: Iterable[str], key: str) -> bool:
    return any(name.startswith(f"{key}.") for name in known)


def _from_environ(known: Mapping[str, Leaf], place: Place, faults: list[str]) -> Iterator[tuple[str, Written]]:
    for name, value in sorted(place.environ.items()):
        if not name.startswith(PREFIX) or ELSEWHERE.fullmatch(name):
            continue
        key = name.removeprefix(PREFIX).lower().replace("__", ".")
        whole = key.removesuffix("_file")
        if key in known:
            yield key, Written(value, name)
        elif whole in known:
            if name.removesuffix("_FILE") in place.environ:
                faults.append(f"{name}: {name.removesuffix('_FILE')} is set, too; keep one of them")
            yield from from_file(whole, value, name, place, faults)
        elif not _is_service_link(name, value):
            faults.append(f"{name}: no such key{_did_you_mean(key, known, variable)}")


def from_file(key: str, path: str, source: str, place: Place, faults: list[str]) -> Iterator[tuple[str, Written]]:
    """Yield the key with a file's text, without the line's end; or nothing, and add to `faults`."""
    try:
        yield key, Written(text_of(place.read_file, path), source, path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        where = f"{key}_file" if source == "file" else source
        quoted = f" = {path!r}" if isinstance(error, THERE) else ""
        why = reason if quoted else f"{reason}; what is not there is not named, since it may be the secret itself"
        faults.append(f"{where}{quoted}: its file cannot be read ({why}); name a readable file with the value in it")


def text_of(read: ReadFile, path: str) -> str:
    """Return the value that a file holds: its text without the last line's end."""
    return read(path).rstrip("\r\n")


SERVICE_LINK = re.compile(r"RECONCILER_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
SERVICE_PORT = re.compile(r"RECONCILER_(\w+_)?PORT=(tcp|udp|sctp)://.*")


def _is_service_link(name: str, value: str) -> bool:
    """Tell the variables that Kubernetes sets in every pod for a service that is called reconciler-something."""
    return bool(SERVICE_LINK.fullmatch(name) or SERVICE_PORT.fullmatch(f"{name}={value}"))


def _did_you_mean(key: str, known: Iterable[str], spell: Callable[[str], str] = str) -> str:
    names = list(known)
    close = get_close_matches(key, names, n=1, cutoff=0.75)
    if not close:
        close = [name for name in names if name.rpartition(".")[2] == key.rpartition(".")[2]][:1]
    return f"; did you mean {spell(close[0])}?" if close else "; remove it, or see docs/configuration.md for the keys"
