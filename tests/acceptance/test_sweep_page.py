"""The sweep's page in a real browser: light and dark, narrow and wide, its table, and nothing asked of any network."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from reconcile.reports.sweeppage import page
from reconcile.sweeps.drift import Class, Count, Drift, Metered, OfKind, Past, SweepReport
from tests.support.browser import browser

NOW = datetime(2025, 6, 1, 2, tzinfo=UTC)
MANY = 130
PAGE = 50
LONG = "users/" + "k" * 200 + "/" + "ü" * 40
DRIFTS = [
    Drift(
        (Class.MISSING, Class.ORPHAN)[n % 2], "files", f"p{n % 7}/{n:03}.pdf", row_id=str(n), size_bytes=n << 20,
        group="crm", owner="ann", since=NOW - timedelta(days=n), cause="never uploaded", is_new=n % 3 == 0,
    )
    for n in range(MANY - 1)
]  # fmt: skip
REPORT = SweepReport(
    "files",
    "report",
    "complete",
    NOW,
    NOW + timedelta(seconds=90),
    id=9,
    totals={"objects": 200_000, "rows": 199_991, "agreed": 199_861, "healed": 4},
    by_kind=[OfKind("missing", 65, 22, 60 << 20), OfKind("orphan", 65, 22, 1 << 30)],
    by_group=[Count("crm", missing=65, size_bytes=60 << 20)],
    by_prefix=[Count(f"p{at}/", missing=at, orphan=2 * at) for at in range(7)],
    by_age=[Count("today", missing=3, orphan=12)],
    meter=[Metered("missing", "today", 1, 1, 0)],
    drifts=[*DRIFTS, Drift(Class.ORPHAN, "files", LONG)],
    total_drifts=MANY,
    history=[Past(n, NOW - timedelta(days=9 - n), "complete", 199_000, 199_000, n, 0, 5, 0) for n in range(8, 0, -1)],
    notes=("the rows were read by pages",),
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Give a browser."""
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """Write the page."""
    path = tmp_path_factory.mktemp("page") / "sweep.html"
    path.write_text(page(REPORT), "utf-8")
    return path


@pytest.mark.parametrize(("width", "scheme"), [*product((360, 1400), ("light", "dark"))])
def test_it_fits_every_window_in_light_and_dark(chromium, file, width, scheme):
    """Nothing is wider than the window, colours follow the scheme, no script fails, and no network is asked."""
    shown = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked: list[str] = []
    failed: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    shown.on("pageerror", lambda error: failed.append(str(error)))
    shown.goto(file.as_uri())
    wide, red, green, blue = shown.evaluate(
        "[document.documentElement.scrollWidth, ..."
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)]"
    )
    assert wide <= width
    assert (sum((red, green, blue)) > 3 * 128) is (scheme == "light")
    assert asked == [file.as_uri()]
    assert failed == []
    shown.screenshot(path=file.with_name(f"{scheme}-{width}.png"), full_page=True)
    shown.close()


def test_its_table_pages_and_finds(chromium, file):
    """All drifts can be reached, by turning pages, by words, and by kind."""
    shown = chromium.new_page()
    shown.goto(file.as_uri())
    rows = shown.locator("#rows tr")
    seen = set()
    while True:
        seen |= set(shown.locator("#rows code").all_text_contents())
        if shown.locator("#after").is_disabled():
            break
        shown.locator("#after").click()
    assert seen == {drift.key for drift in REPORT.drifts}
    assert rows.count() == MANY % PAGE
    shown.locator("#wanted").fill("p3/ 003")
    assert shown.locator("#rows code").all_text_contents() == ["p3/003.pdf"]
    shown.locator("#wanted").fill("nothing of the kind")
    assert "No drift fits" in shown.locator("#shown").text_content()
    shown.close()
