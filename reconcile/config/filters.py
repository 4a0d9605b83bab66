"""Which keys are watched: glob patterns like rclone's, compiled to one test. Pure.

A key is watched if it matches any `include` (or there is none) and no `exclude`. What we store ourselves below
`.storage-reconciler/` is never watched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

OURS = ".storage-reconciler/"
SPECIAL = re.compile(
    r"(?P<stars>\*+)|(?P<one>\?)|(?P<set>\[[!^]?\]?(?:\\.|[^\]\\])*\])|(?P<escaped>\\.)|(?P<plain>[^\[\\])", re.DOTALL
)
ACROSS, WITHIN = ".*", "[^/]*"  # directories
MOST_CHOICES = 100

Watched = Callable[[str], bool]


class BadPattern(ValueError):
    """A pattern that cannot be meant; the text says why and what to write."""


def watched(include: Iterable[str], exclude: Iterable[str]) -> Watched:
    """Return the test of keys, or raise BadPattern; without patterns it costs one comparison."""
    wanted, unwanted = _any(include), _any(exclude)
    if wanted and unwanted:
        return lambda key: not key.startswith(OURS) and bool(wanted(key)) and not unwanted(key)
    if wanted:
        return lambda key: not key.startswith(OURS) and bool(wanted(key))
    if unwanted:
        return lambda key: not key.startswith(OURS) and not unwanted(key)
    return lambda key: not key.startswith(OURS)


def below(prefix: str) -> str:
    """Return the pattern of the keys that begin so."""
    return "/" + re.sub(r"([*?\[\]{}\\])", r"\\\1", prefix) + "**"


@lru_cache(maxsize=256)
def matching(pattern: str) -> Callable[[str], object]:
    """Return the test of one pattern, or raise BadPattern."""
    return re.compile(expression(pattern), re.DOTALL).search


def _any(patterns: Iterable[str]) -> Callable[[str], object] | None:
    expressions = [expression(pattern) for pattern in patterns]
    return re.compile("|".join(expressions), re.DOTALL).search if expressions else None


def expression(pattern: str) -> str:
    """Return the regular expression, to be searched, of one pattern, or raise BadPattern.

    Keys are chosen by whoever uploads: none may take long. So no star is tried anew once what follows it was found.
    """
    if not pattern.strip("/"):
        raise BadPattern("is empty; write ** to match every key")
    anchor = r"\A" if pattern.startswith("/") else r"(?:\A|(?<=/))"
    pieces = _pieces(pattern.removeprefix("/"))
    if pattern.endswith("/"):
        pieces.append(ACROSS)
    return "|".join(dict.fromkeys(_committed(written, anchor) for written in _written_out(pieces)))


def _pieces(body: str) -> list[str]:
    """Translate piece by piece; braces are the only thing that spans pieces."""
    found: list[str] = []
    at, depth = 0, 0
    while at < len(body):
        piece = SPECIAL.match(body, at)
        if piece is None:
            raise BadPattern(
                "has a '[' without its ']' or ends in a lone backslash; put a backslash before it to mean it"
            )
        depth += {"{": 1, "}": -1}.get(piece[0], 0)
        if depth not in (0, 1):
            raise BadPattern("has braces that do not pair, or braces in braces; put a backslash before one to mean it")
        found.append(_translated(piece, within_braces=depth == 1))
        at = piece.end()
    if depth:
        raise BadPattern("has a '{' without its '}'; put a backslash before it to mean it")
    return found


def _written_out(pieces: Iterable[str]) -> list[list[str]]:
    """Return the patterns without braces that one with braces stands for."""
    made: list[list[str]] = [[]]
    choices: list[list[str]] = []
    for piece in pieces:
        match piece:
            case "(?:" | "|":
                choices.append([])
            case ")":
                if len(made) * len(choices) > MOST_CHOICES:
                    raise BadPattern(f"has braces that stand for more than {MOST_CHOICES} patterns; write several")
                made, choices = [one + choice for one in made for choice in choices], []
            case _:
                for one in choices[-1:] or made:
                    one.append(piece)
    return made


def _committed(pieces: list[str], anchor: str) -> str:
    """Put one pattern together: what stands between two `**` is taken where it ends first, and nowhere else.

    That is enough: what follows a `**` and can be found from a later place can be found from an earlier one. Within one
    directory the same holds of `*`. Only what stands after the last star has to reach the end of the key.
    """
    *between, last = _parts(pieces, ACROSS)
    if not between:
        return f"{anchor}{_within(last)}\\Z"
    first, *others = map(_taken, between)
    begin = f"{anchor}{first}" if anchor == r"\A" else rf"\A(?>.*?{anchor}{first})"
    return f"{begin}{''.join(f'(?>.*?{other})' for other in others)}.*{_within(last)}\\Z"


def _within(pieces: list[str]) -> str:
    """Return what has to reach the end: its last `*` may give back."""
    *parts, last = ("".join(part) for part in _parts(pieces, WITHIN))
    return f"{_first_found(parts)}{WITHIN}{last}" if parts else last


def _taken(pieces: list[str]) -> str:
    """Return what is taken where it ends first."""
    return _first_found(["".join(part) for part in _parts(pieces, WITHIN)])


def _first_found(parts: list[str]) -> str:
    return parts[0] + "".join(f"(?>{WITHIN}?{part})" for part in parts[1:])


def _parts(pieces: list[str], star: str) -> list[list[str]]:
    """Return what stands between the stars of one sort: one part more than there are stars."""
    found: list[list[str]] = [[]]
    for piece in pieces:
        if piece == star:
            found.append([])
        else:
            found[-1].append(piece)
    return found


def _translated(piece: re.Match[str], *, within_braces: bool) -> str:
    match piece.lastgroup:
        case "stars":
            return _stars(piece[0])
        case "one":
            return "[^/]"
        case "set":
            return _set(piece[0])
        case "escaped":
            return re.escape(piece[0][1])
        case _:
            special = {"{": "(?:", "}": ")"} | ({",": "|"} if within_braces else {})
            return special.get(piece[0], re.escape(piece[0]))


def _stars(stars: str) -> str:
    if len(stars) > 2:  # noqa: PLR2004  # one star or two are all there is
        raise BadPattern("has three stars in a row; write * within one directory, ** across directories")
    return ACROSS if stars == "**" else WITHIN


def _set(written: str) -> str:
    """Translate a set of characters; like '*' and '?' it never matches a '/'."""
    negated = written[1] in "!^"
    inside = written[1 + negated : -1]
    if not inside:
        raise BadPattern("has an empty set []; put a backslash before '[' to mean it")
    members = re.sub(r"\\(.)|([\[\]^&~|\\])", lambda found: re.escape(found[1] or found[2]), inside, flags=re.DOTALL)
    found = f"(?!/)[{'^' if negated else ''}{members}]"
    try:
        re.compile(found if "--" not in members else "[z-a]")
    except re.error:
        raise BadPattern(f"has a set {written} that is no range; write the smaller character first") from None
    return found
