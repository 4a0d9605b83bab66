"""The daily report's page in a real browser: light and dark, narrow and wide, and nothing asked of any network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from reconcile.reports.daily import Around, Cell, Daily, Flow, Pruned, Span, slots
from reconcile.reports.dailypage import page
from reconcile.reports.dailyreport import DEEDS, LATENCY, LOSSES, RESTRAINTS, SWEEPS
from reconcile.reports.forms import Table
from tests.support.browser import browser

NOW = datetime(2025, 6, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
SPAN = Span(NOW - 24 * HOUR, NOW)
EVIL = '<img src=x onerror="document.title=1">\u202egnp'
CAUSES = ("the object is gone", "no row names it", "size differs", EVIL)
FLOWS = {
    Cell(kind, cause, group): Flow(suspected=9, opened=at + 5, resolved=3, flagged=at, given_back=1, net=at + 2)
    for at, (kind, cause, group) in enumerate(
        [("missing", CAUSES[0], "users"), ("missing", CAUSES[0], "avatars"), ("orphan", CAUSES[1], ""),
         ("mismatch", CAUSES[2], "users"), ("orphan", EVIL, "g" * 90)]
    )
}  # fmt: skip
SWEEP = (
    "files",
    None,
    "sweep",
    "report",
    "complete",
    NOW - 5 * HOUR,
    NOW - 4 * HOUR,
    *([10**6] * 2),
    3,
    0,
    1,
    0,
    2,
    1,
    None,
)
REPORT = Daily(
    SPAN,
    NOW,
    FLOWS,
    {cell: flow._replace(opened=2) for cell, flow in FLOWS.items()},
    {cell: 12 + 7 * at for at, cell in enumerate(FLOWS)},
    slots(SPAN, [(at, (at * 7) % 11, (at * 5) % 7) for at in range(1, 24)]),
    [
        Table("latency", LATENCY, [("suspected", "express", 40, 7.0, 31.0, 90.0, 12, 28.0)], "From the event's time"),
        Table("losses", LOSSES, [(7, "files", "minio_restarted", NOW - HOUR, NOW, 2, None, None, EVIL)], "Missed"),
        Table("sweeps", SWEEPS, [(4, *SWEEP)], "Sweeps and scrubs"),
        Table("deeds", DEEDS, [("purged", 3, 2048, "ann", EVIL, NOW - HOUR, NOW)], "What persons did to findings"),
        Table("restraints", RESTRAINTS, [(NOW - HOUR, "brake set", "missing", "consumer-1", "101 in 10 m")], "Brakes"),
    ],
    in_force=["brake on missing since 2025-06-02 23:00 UTC: 101 in 10 m"],
    uncovered=1,
    around=Around(loss_windows=1, lost_or_silent=1, sweeps_complete=1, brakes_set=1),
    dead_letters_unknown="no [kafka] is configured",
    pruned=Pruned(NOW - 20 * HOUR),
)  # fmt: skip
EMPTY = replace(REPORT, flows={}, flows_before={}, stock={}, slots=slots(SPAN, []), tables=[], in_force=(), uncovered=0)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Give a browser."""
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module", params=[REPORT, EMPTY], ids=["full", "empty"])
def file(request, tmp_path_factory) -> Path:
    """Write the page."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(request.param), "utf-8")
    return path


@pytest.mark.parametrize(("width", "scheme"), [*product((360, 1400), ("light", "dark"))])
def test_it_fits_every_window_in_light_and_dark(chromium, file, width, scheme):
    """Nothing is wider than the window, colours follow the scheme, foreign text is text, and no network is asked."""
    shown = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked: list[str] = []
    failed: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    shown.on("console", lambda message: failed.append(message.text))
    shown.goto(file.as_uri())
    wide, red, green, blue = shown.evaluate(
        "[document.documentElement.scrollWidth, ..."
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)]"
    )
    assert wide <= width
    assert (sum((red, green, blue)) > 3 * 128) is (scheme == "light")
    assert asked == [file.as_uri()]
    assert failed == []
    assert shown.locator("img, script").count() == 0
    shown.screenshot(path=file.with_name(f"{scheme}-{width}.png"), full_page=True)
    shown.close()


def test_it_says_first_what_nobody_may_overlook(chromium, tmp_path):
    """A brake that is on, a window that no sweep covered; then how many are open, and at the end what is not known."""
    file = tmp_path / "report.html"
    file.write_text(page(REPORT), "utf-8")
    shown = chromium.new_page()
    shown.goto(file.as_uri())
    alarm = shown.get_by_role("alert")
    assert "brake on missing since" in alarm.text_content()
    assert "1 window in which the stream may have missed something" in alarm.text_content()
    assert shown.locator("h1").text_content() == "35 opened, 15 closed; 130 open, 110 before"
    assert shown.locator(".figures").first.locator(".missing b").text_content() == "31"
    letters = shown.get_by_role("row", name="dead letters")
    assert letters.locator("td.n").all_text_contents() == ["-", "-"]  # not known, which is no zero
    notes = shown.locator(".notes").text_content()
    assert "dead letters are not counted" in notes
    assert "this window is not whole" in notes
    shown.close()
