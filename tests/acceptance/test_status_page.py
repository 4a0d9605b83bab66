"""The status page in a real browser: narrow and wide, light and dark, by keyboard, under its own strict policy."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from reconcile.database import migrate
from tests.support import command, consuming, paging
from tests.support.browser import browser

WIDTHS, SCHEMES = (360, 800, 1400), ("light", "dark")
PATHS = ("/", "/findings", "/findings?kind=orphan&prefix=users%2F", "/findings/1", "/findings/3", "/sweeps")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Give a browser."""
    with browser() as opened:
        yield opened


@pytest.fixture
def served(tmp_path, database, connection, minio):
    """Serve the pages of a bad night."""
    migrate(connection)
    paging.seed(connection)
    settings = consuming.settings_of(
        command.program(tmp_path, database, minio, "files", {"bootstrap.servers": "-"}).environment({})
    )
    with paging.serving(settings, lanes=("files",)) as page:
        yield page


def test_it_fits_every_window_in_light_and_dark(chromium, served, tmp_path):
    """Nothing is wider than the window, colours follow the scheme, the console is silent, nothing else is asked."""
    for width, scheme, path in product(WIDTHS, SCHEMES, PATHS):
        shown = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        asked: list[str] = []
        said: list[str] = []
        shown.on("request", lambda request, asked=asked: asked.append(request.url))
        shown.on("console", lambda message, said=said: said.append(message.text))
        shown.on("pageerror", lambda error, said=said: said.append(str(error)))
        url = f"http://127.0.0.1:{served.port}{path}"
        shown.goto(url)
        name = path.strip("/").translate(str.maketrans("/?&=%", "-----")) or "overview"
        shown.screenshot(path=tmp_path / f"{name}-{width}-{scheme}.png", full_page=True)
        wide = shown.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, (path, width)
        assert [one for one in asked if not one.startswith("data:")] == [url]
        assert said == [], (path, width)
        shown.close()
