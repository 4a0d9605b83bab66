"""Table and Section as one self-contained page for a browser. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from html import escape

from reconcile.human import Value, human, label
from reconcile.reports.forms import TONES, Section, Shown, Table, iso

HTML_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem }}
h2 {{ font-size: 1.1rem; margin: 1.6rem 0 .4rem }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #8884; vertical-align: top }}
td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums }}
td {{ overflow-wrap: anywhere }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.2rem; margin: .4rem 0 }}
dt, .note {{ opacity: .7 }} dd {{ margin: 0; overflow-wrap: anywhere }}
.red {{ color: light-dark(#b3261e, #ff8a80) }} .yellow {{ color: light-dark(#8a5a00, #ffd166) }}
.green {{ color: light-dark(#1b6e3a, #7bd88f) }} .bold {{ font-weight: 600 }}
</style></head><body>
"""


def as_html(shown: Shown, now: datetime | None = None) -> str:
    """Return one self-contained page."""
    title = escape(shown.title or shown.name)
    return HTML_HEAD.format(title=title) + "\n".join(_html(shown, now)) + "\n</body></html>\n"


def _html(shown: Shown, now: datetime | None) -> Iterator[str]:
    if shown.title:
        yield f"<h2>{escape(shown.title)}</h2>"
    match shown:
        case Table():
            yield from _html_table(shown, now)
        case Section(facts=facts, parts=parts):
            if facts:
                yield "<dl>"
                for name, value in facts.items():
                    yield f"<dt>{escape(label(name))}</dt>{_cell('dd', name, value, now)}"
                yield "</dl>"
            for part in parts:
                yield from _html(part, now)
    for note in shown.notes:
        yield f'<p class="note">{escape(note)}</p>'


def _html_table(table: Table, now: datetime | None) -> Iterator[str]:
    if not table.rows:
        yield f'<p class="note">{escape(table.none)}</p>'
        return
    yield "<table><thead><tr>"
    yield "".join(f"<th>{escape(label(name))}</th>" for name in table.columns)
    yield "</tr></thead><tbody>"
    for row in table.rows:
        cells = (_cell("td", name, value, now) for name, value in zip(table.columns, row, strict=True))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table>"


def _cell(tag: str, name: str, value: Value, now: datetime | None) -> str:
    shown = human(name, value, now)
    exact = f' title="{iso(value)}"' if isinstance(value, datetime) else ""
    style = TONES.get(shown, "n" if isinstance(value, int | float) and not isinstance(value, bool) else "")
    styled = f' class="{style}"' if style else ""
    return f"<{tag}{styled}{exact}>{escape(shown)}</{tag}>"
