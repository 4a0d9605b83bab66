"""A sweep's report as one self-contained page for a browser: numbers, pictures, and the drifts to leaf through. Pure.

Its script lies in templates/sweep.html. Whatever a bucket, a key or a person may have written passes `safe`, or
`_embedded` where the script reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from reconcile.human import duration, label, number, size, visible
from reconcile.reports import pageparts
from reconcile.reports.pageparts import dot, figure, minute, safe, small, stacked, time_of
from reconcile.reports.sweeppictures import PAST, counts, history
from reconcile.reports.sweepreport import (
    COMPLETE,
    TOTALS,
    advice,
    at_stake_bytes,
    caution,
    elapsed_s,
    healed_in,
    of_drifts,
    outcome,
)
from reconcile.sweeps.drift import DRIFTS, Drift, Meter, OfKind, Past, SweepReport

METER = {"lost": Meter.LOST, "never": Meter.NEVER, "unmeasured": Meter.UNMEASURED}
MEANT = {
    "lost": "the stream should have told of them, and did not",
    "never": "only the database changed, or nothing was ever uploaded",
    "unmeasured": "nobody can tell whether an event was sent",
}
WITHOUT_SCRIPT, MOST_PASTS = 200, 60
SHOWN_ABOVE = frozenset({"objects", "rows", "agreed", "healed"})
ALARM = {"held": "Held", "incomplete": "Incomplete"}
COLUMNS = ("kind", "key", "cause", "size", "group", "since (UTC)")


class Listed(NamedTuple):
    """A drift as the page shows it, all text visible but not escaped; the script knows this order."""

    kind: str
    key: str
    under: str
    cause: str
    meter: str
    size_bytes: int | None
    size: str
    group: str
    owner: str
    since: str
    new: bool


def page(report: SweepReport) -> str:
    """Return the page."""
    listed = list(map(_listed, report.drifts))
    parts = {
        "header": _header(report),
        "figures": _figures(report),
        "history": history(_pasts(report)),
        "prefixes": counts("By prefix", "prefix", report.by_prefix),
        "groups": counts("By group", "group", report.by_group),
        "ages": counts("By age", "age", report.by_age),
        "meter": _meter(report),
        "drifts": _drifts(report, listed),
        "footer": _footer(report),
        "listed": _embedded(listed),
    }
    return pageparts.page("sweep", f"{report.bucket}: sweep {report.state}", parts)


def _embedded(listed: Sequence[Listed]) -> str:
    """Return JSON of which no character can end the element that holds it, or begin another."""
    written = json.dumps(listed, separators=(",", ":"))
    return written.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _header(report: SweepReport) -> str:
    elapsed = elapsed_s(report)
    facts = [
        time_of(report.started_at),
        "" if elapsed is None else f"took {duration(elapsed)}",
        safe(report.mode),
        "" if report.id is None else f"sweep {report.id}",
    ]
    prefix = f'<p>under <code dir="ltr">{safe(report.prefix)}</code></p>' if report.prefix else ""
    state = f'<span class="state {safe(report.state)}">{safe(report.state.capitalize())}</span>'
    return (
        f'<header><p class="over">Bucket compared with database</p><h1>{safe(report.bucket)}</h1>{prefix}'
        f'<p class="when">{state}{" · ".join(filter(None, facts))}</p></header>{_alarm(report)}'
    )


def _alarm(report: SweepReport) -> str:
    """Return what nobody may overlook: why the numbers cannot be relied upon, and what to do."""
    if report.state not in ALARM:
        return ""
    said = "".join(f"<p>{safe(told)}</p>" for told in (caution(report), advice(report)) if told)
    title = ALARM[report.state] + (f": {report.reason}" if report.reason else "")
    return f'<div class="alarm {report.state}" role="alert"><h2>{safe(title)}</h2>{said}</div>'


def _figures(report: SweepReport) -> str:
    kinds = {kind.name: kind for kind in report.by_kind}
    wanted = (*PAST, *(name for name in DRIFTS if name not in PAST and name in kinds and kinds[name].found))
    first = "".join(_of_kind(kinds.get(name) or OfKind(name, 0, 0, 0), report.state) for name in wanted)
    second, said = "".join(_sums(report)), outcome(report)
    style = "well" if report.state == COMPLETE and not any(kind.found for kind in of_drifts(report)) else "vh"
    return (
        f'<h2 class="{style}">{safe(said[0].upper() + said[1:])}</h2><dl class="figures">{first}</dl>'
        f'<dl class="figures second">{second}</dl>'
    )


def _of_kind(kind: OfKind, state: str) -> str:
    old = kind.found - kind.new
    if not kind.found:
        return figure(kind.name, "0", "" if state == COMPLETE else "none so far", style=kind.name)
    ages = filter(None, (f"{kind.new:,} new" if kind.new else "", f"{old:,} still there" if old else ""))
    return figure(kind.name, f"{kind.found:,}", " · ".join(ages), size(kind.size_bytes), style=kind.name)


def _sums(report: SweepReport) -> Iterator[str]:
    totals, drift = report.totals, sum(kind.found for kind in of_drifts(report))
    healed = healed_in(report)
    yield figure("at stake", size(at_stake_bytes(report)), f"{healed:,} healed since the last" if healed else "")
    if "objects" in totals:
        yield figure("objects", f"{totals['objects']:,}", "")
    if "rows" in totals:
        yield figure("rows", f"{totals['rows']:,}", "")
    if totals.get("agreed", 0) + drift and "agreed" in totals:
        yield figure(
            "agreed", _percent(totals["agreed"], totals["agreed"] + drift), f"{totals['agreed']:,} keys on both sides"
        )


def _percent(part: int, whole: int) -> str:
    """Return a share in percent, rounded down: one drift in a million is not 100 %."""
    hundredths = part * 10_000 // whole
    return "100 %" if part == whole else f"{hundredths // 100}.{hundredths % 100:02} %"


def _pasts(report: SweepReport) -> list[Past]:
    """Return the sweeps to draw, the oldest first, this one the last."""
    pasts = list(report.history)
    if report.id is None or all(past.id != report.id for past in pasts):
        found = {kind.name: kind.found for kind in report.by_kind}
        counts = [
            report.totals.get("objects", 0),
            report.totals.get("rows", 0),
            *(found.get(name, 0) for name in PAST),
        ]
        told = (report.brought, report.totals.get("lost_or_silent"))
        pasts.insert(0, Past._make((report.id or 0, report.started_at, report.state, *counts, *told)))
    return pasts[:MOST_PASTS][::-1]


def _meter(report: SweepReport) -> str:
    sums = [(name, sum(getattr(line, name) for line in report.meter)) for name in METER]
    total = sum(count for _, count in sums)
    if not total:
        return ""
    figures = "".join(figure(METER[name], f"{count:,}", MEANT[name], style=name) for name, count in sums)
    heads = "".join(f'<th scope="col" class="n">{meter}</th>' for meter in METER.values())
    rows = "".join(
        f'<tr><th scope="row">{dot(line.kind)}{safe(line.kind)}</th><td>{safe(line.age)}</td>'
        + "".join(f'<td class="n">{getattr(line, name):,}</td>' for name in METER)
        for line in report.meter
    )
    return (
        '<section class="meter"><h2>Should the stream have told?</h2>'
        '<p class="dim">Each drift that the sweep found, by what the event stream could know of it.</p>'
        f'{stacked([part for part in sums if part[1]], total)}<dl class="figures">{figures}</dl>'
        '<details><summary>By class and age</summary><div class="scroll"><table class="plain"><thead><tr>'
        f'<th scope="col">class</th><th scope="col">age</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
        "</details></section>"
    )


def _listed(drift: Drift) -> Listed:
    under = [
        f"row {visible(drift.row_id)}" if drift.row_id else "",
        f"version {visible(drift.s3_version)}" if drift.s3_version else "",
        f"looks like {visible(drift.counterpart)}" if drift.counterpart else "",
    ]
    return Listed(
        kind=str(drift.kind),
        key=visible(drift.key),
        under=" · ".join(filter(None, under)),
        cause=visible(drift.cause),
        meter=f"{drift.meter} · known" if drift.known else str(drift.meter),
        size_bytes=drift.size_bytes,
        size="" if drift.size_bytes is None else size(drift.size_bytes),
        group=visible(drift.group),
        owner=visible(drift.owner),
        since=minute(drift.since) if drift.since else "",
        new=drift.is_new,
    )


def _drifts(report: SweepReport, listed: Sequence[Listed]) -> str:
    if not listed:
        return ""
    total = max(report.total_drifts, len(listed))
    here = f"The first {len(listed):,} of {total:,}." if len(listed) < total else f"All {total:,}."
    first = min(len(listed), WITHOUT_SCRIPT)
    heads = "".join(f'<th scope="col"{_right(name)}>{name}</th>' for name in COLUMNS)
    rows = "".join(map(_row, listed[:first]))
    return (
        f'<section id="drifts"><h2>Drifts</h2><p class="dim">{here} Each was looked at on both sides.</p>'
        f'{_tools(listed)}<table class="drifts"><thead><tr>{heads}</tr></thead><tbody id="rows">{rows}</tbody></table>'
        f'<div class="pager"><p class="dim" id="shown" role="status">1&ndash;{first:,} of {len(listed):,}</p>'
        '<button type="button" id="before" hidden>Previous</button>'
        '<button type="button" id="after" hidden>Next</button></div></section>'
    )


def _right(name: str) -> str:
    return ' class="n"' if name == "size" else ""


def _tools(listed: Sequence[Listed]) -> str:
    kinds = [name for name in DRIFTS if any(drift.kind == name for drift in listed)]
    chips = "".join(_chip(name, f"{dot(name)}{name}") for name in kinds)
    new = _chip("new", "only new") if len({drift.new for drift in listed}) > 1 else ""
    orders = "".join(f'<option value="{name}">{name} first</option>' for name in ("largest", "oldest", "newest"))
    return (
        f'<div class="tools" id="tools" hidden><fieldset><legend class="vh">Show only</legend>{chips}{new}</fieldset>'
        '<input type="search" id="wanted" placeholder="Key, cause, group, row …" aria-label="Search the drifts">'
        f'<select id="order" aria-label="Order"><option value="listed">as listed</option>{orders}</select></div>'
    )


def _chip(name: str, shown: str) -> str:
    return f'<label class="chip"><input type="checkbox" value="{name}"><span>{shown}</span></label>'


def _row(drift: Listed) -> str:
    return (
        f'<tr><td class="kind">{dot(drift.kind)}{drift.kind}{small("new" if drift.new else "")}</td>'
        f'<td class="key"><code dir="ltr">{escape(drift.key)}</code>{small(drift.under)}</td>'
        f'<td class="why">{_span(drift.cause)}{small(drift.meter)}</td><td class="n size">{drift.size}</td>'
        f'<td class="whose">{_span(drift.group)}{small(drift.owner)}</td><td class="since">{drift.since}</td></tr>'
    )


def _span(text: str) -> str:
    return f"<span>{escape(text)}</span>" if text else ""


def _footer(report: SweepReport) -> str:
    totals = "".join(
        f"<div><dt>{safe(label(TOTALS.get(name, name)))}</dt><dd>{safe(number(name, count))}</dd></div>"
        for name, count in report.totals.items()
        if name not in SHOWN_ABOVE
    )
    notes = "".join(f"<li>{safe(note)}</li>" for note in report.notes)
    began, ended = time_of(report.started_at), f" to {time_of(report.finished_at)}" if report.finished_at else ""
    return (
        f'<footer><h2 class="vh">Totals and notes</h2>{f"<dl>{totals}</dl>" if totals else ""}'
        f'{f"""<ul class="notes">{notes}</ul>""" if notes else ""}<p>storage-reconciler · {began}{ended}</p></footer>'
    )
