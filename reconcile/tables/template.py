"""A key that is composed of columns: `users/{file.owner_id}/{version.id}/{version.name}`, and its inverse. Pure.

Inverting yields every way in which a key can be split, since a text may hold the characters that separate the parts;
whoever looks rows up composes their keys again and compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reconcile.tables.columns import unquoted

LAZY = "%"  # in a part's shape: where its repetition may be turned lazy
PIECE = re.compile(
    r"(?P<literal>(?:[^{}]|\{\{|\}\})+)"
    r"|\{(?:(?P<table>version|file)\.)?(?P<column>\"(?:[^\"]|\"\")+\"|[^{}\":]+)(?P<segment>:segment)?\}"
)


class BadTemplate(ValueError):
    """A template that is none; the text says why and what to write."""


class Ref(NamedTuple):
    """A column of one of the two tables."""

    table: str
    column: str


@dataclass(frozen=True, slots=True)
class Template:
    """Literals around and between parts: there is one literal more than parts."""

    literals: tuple[str, ...]
    parts: tuple[Ref, ...]
    segments: frozenset[Ref]


Split = tuple[str, ...]
Inverse = Callable[[str], Sequence[Split]]


def is_template(text: str) -> bool:
    """Tell a template from the name of a column."""
    return "{" in text


def reference(text: str) -> Ref:
    """Return what `file.owner_id`, `version.owner_id` or `owner_id` names; without a table it is the version's."""
    table, dot, column = text.partition(".")
    return Ref(table, column) if dot and column and table in ("version", "file") else Ref("version", text)


def parse(text: str) -> Template:
    """Return the template, or raise BadTemplate; `{{` and `}}` stand for braces."""
    literals, parts, segments = [""], list[Ref](), set[Ref]()
    at = 0
    while at < len(text):
        piece = PIECE.match(text, at)
        if piece is None:
            raise BadTemplate(f"has a part at {text[at:]!r} that is not {{version.column}} or {{file.column}}")
        at = piece.end()
        if piece["literal"]:
            literals[-1] += piece["literal"].replace("{{", "{").replace("}}", "}")
            continue
        ref = Ref(piece["table"] or "version", unquoted(piece["column"]))
        parts.append(ref)
        literals.append("")
        if piece["segment"]:
            segments.add(ref)
    if not parts:
        raise BadTemplate("names no column; write at least one part such as {version.id}")
    return Template(tuple(literals), tuple(parts), frozenset(segments))


def inverse(template: Template, shapes: Sequence[str]) -> Inverse:
    """Return the function from a key to its possible splits.

    The shape of a part is a regular expression with LAZY in it. Two matches tell whether a key splits in one way: the
    longest and the shortest parts from the left agree.
    """
    longest = _expression(template, shapes, lazy=False)
    shortest = _expression(template, shapes, lazy=True)
    fitting = [re.compile(shape.replace(LAZY, ""), re.DOTALL | re.ASCII) for shape in shapes]

    def invert(key: str) -> Sequence[Split]:
        found = longest.fullmatch(key)
        if found is None:
            return ()
        other = shortest.fullmatch(key)
        if other is None or other.groups() == found.groups():
            return (found.groups(),)
        return list(_splits(key, template.literals, fitting, 0))

    return invert


def _expression(template: Template, shapes: Sequence[str], *, lazy: bool) -> re.Pattern[str]:
    """Return one pattern for the whole key; a part named twice is matched twice, and compared by its rows."""
    pieces = [re.escape(template.literals[0])]
    for shape, literal in zip(shapes, template.literals[1:], strict=True):
        pieces.append(f"({shape.replace(LAZY, '?' if lazy else '')}){re.escape(literal)}")
    return re.compile("".join(pieces), re.DOTALL | re.ASCII)


def _splits(key: str, literals: Sequence[str], fitting: Sequence[re.Pattern[str]], at: int) -> Iterator[Split]:
    """Yield every split of the rest of the key, which starts with the first literal."""
    start = at + len(literals[0])
    if not fitting:
        if start == len(key):
            yield ()
        return
    for end in _ends(key, start, literals[1], last=len(fitting) == 1):
        if fitting[0].fullmatch(key, start, end):
            for rest in _splits(key, literals[1:], fitting[1:], end):
                yield (key[start:end], *rest)


def _ends(key: str, start: int, literal: str, *, last: bool) -> Iterator[int]:
    """Yield where a part may end: before each place of the literal that follows it; the last one before the end."""
    if last:
        end = len(key) - len(literal)
        if end >= start and key.startswith(literal, end):
            yield end
        return
    end = key.find(literal, start)
    while end != -1:
        yield end
        end = key.find(literal, end + 1) if end < len(key) else -1
