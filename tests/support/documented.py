"""What the documents tell a reader to type: command lines and statements of SQL, in blocks and in sentences."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.command import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = (
    r"storage-reconciler|make|\.ci/run|pip|pip-audit|python3?|export|debootstrap|tar|docker|kubectl|systemctl"
    r"|mc|rclone|curl|ssh|psql|promtool|kafka-\w+\.sh"
)
COMMAND = rf"(?:[A-Z_]+=\S+ )*(?:{PROGRAMS})"
BLOCK = re.compile(rf"({COMMAND}(?: .*)?)$")
SPAN = re.compile(rf"(?<!`)`({COMMAND} [^`\n]*|\.ci/run)`")
SQL = re.compile(
    r"(?:^    |`)((?:ALTER|CREATE|DELETE|DROP|GRANT|INSERT|REVOKE|SELECT|UPDATE) [^`;]*)[;`]", re.MULTILINE
)
OPTIONAL = re.compile(r"[\[\]…]")  # as somebody types it who wants all that he may have


@dataclass(frozen=True)
class Typed:
    """One command line, and where it stands."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        """Name the place as editors do."""
        return f"{self.page}:{self.line}: {self.text}"


def typed(page: Path) -> Iterator[Typed]:
    """Yield the command lines of a page in their order, without what is said of them behind a `#`.

    A fence that names a language holds what is shown, not what is typed.
    """
    fence = ""
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if line.startswith("```"):
            fence = "" if fence else line
        block = BLOCK.match(line.removeprefix("    ")) if fence == "```" or line.startswith("    ") else None
        for text in [block[1]] if block else SPAN.findall(line):
            yield Typed(page.name, number, OPTIONAL.sub("", text).partition(" #")[0].strip())


def statements(page: Path) -> list[str]:
    """Return the statements of SQL of a page; what only names one, such as `CREATE INDEX`, is none."""
    found = [match.replace("\n", " ") for match in SQL.findall(page.read_text("utf-8"))]
    return [statement for statement in found if len(statement.split()) > 3 and "..." not in statement]
