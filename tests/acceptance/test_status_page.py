"""The status page in a real browser: narrow and wide, light and dark, by keyboard, under its own strict policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reconcile.database import migrate
from tests.support import command, consuming, paging
from tests.support.browser import browser

WIDTHS, SCHEMES = (360, 800, 1400), ("light", "dark")
PATHS = ("/", "/findings", "/findings?kind=mismatch", "/findings/1", "/findings/3", "/findings/999", "/sweeps")
LEAST_CONTRAST = 4.5
FAINT = """() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [.2126, .7152, .0722][at], 0);
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const found = parse(getComputedStyle(at).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const faint = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest("svg, option, .vh")) continue;
    let dim = 1;
    for (let at = element; at; at = at.parentElement) dim *= Number(getComputedStyle(at).opacity);
    const under = ground(element), ink = parse(getComputedStyle(element).color).slice(0, 3)
      .map((c, at) => c * dim + under[at] * (1 - dim));
    const [low, high] = [light(ink), light(under)].sort((a, b) => a - b);
    const ratio = (high + .05) / (low + .05);
    if (ratio < LEAST) faint.push(`${ratio.toFixed(2)} ${text.slice(0, 40)}`);
  }
  return faint;
}""".replace("LEAST", str(LEAST_CONTRAST))
FOCUSABLE = "a[href], button, input, select, summary, [tabindex='0']"
MARK = f"""() => {{
  const all = [...document.querySelectorAll({FOCUSABLE!r})].filter(one => one.checkVisibility());
  all.forEach((one, at) => one.dataset.at = at);
  return all.length;
}}"""
FOCUSED = """() => {
  const at = document.activeElement, style = getComputedStyle(at);
  return [at.dataset.at ?? null, style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1];
}"""


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
    program = command.program(tmp_path, database, minio, "files", {})
    with paging.serving(consuming.settings_of(program.environment({})), lanes=("files",)) as page:
        yield page


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_page_fits_and_can_be_read(chromium, served, scheme):
    """No window scrolls sideways, no text is faint, the console is silent, and nothing but the page is asked for."""
    shown = chromium.new_page(color_scheme=scheme)
    asked: list[str] = []
    said: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    for path in PATHS:
        asked.clear()
        url = f"http://127.0.0.1:{served.port}{path}"
        shown.set_viewport_size({"width": WIDTHS[0], "height": 900})
        shown.goto(url)
        for width in WIDTHS:
            shown.set_viewport_size({"width": width, "height": 900})
            assert shown.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
        assert shown.evaluate(FAINT) == [], path
        assert [one for one in asked if not one.startswith("data:")] == [url]
        said[:] = [one for one in said if "404" not in one]  # the browser's own word on /findings/999
        assert said == [], path
        red, green, blue = shown.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
        )
        assert (red + green + blue > 3 * 128) is (scheme == "light")
    shown.close()


@pytest.mark.timeout(300)
def test_every_page_can_be_used_by_keyboard_and_by_ear(chromium, served):
    """Tab reaches all that can be used, each is seen to have the focus; landmarks, headings and names are there."""
    shown = chromium.new_page(viewport={"width": 1400, "height": 900})
    for path in PATHS:
        shown.goto(f"http://127.0.0.1:{served.port}{path}")
        wanted, reached = shown.evaluate(MARK), set()
        for _ in range(wanted + 5):
            shown.keyboard.press("Tab")
            at, is_seen = shown.evaluate(FOCUSED)
            if at is not None:
                assert is_seen, (path, at)
                reached.add(int(at))
        assert reached == set(range(wanted)), path
        for landmark in ("main", "nav", "header"):
            assert shown.locator(landmark).count() >= 1, (path, landmark)
        assert shown.locator("h1").count() == 1, path
        unnamed = "[...document.querySelectorAll('table')].filter(one => !one.caption).length"
        assert shown.evaluate(unnamed) == 0, path
        unlabelled = "[...document.querySelectorAll('input, select')].filter(one => !one.labels.length).length"
        assert shown.evaluate(unlabelled) == 0, path
        assert shown.evaluate("[...document.querySelectorAll('thead th:not([scope])')].length") == 0, path
    shown.close()


def test_the_form_filters_and_pages_follow(chromium, served):
    """Without a script: a kind and a prefix are chosen and shown; the next pages end with the last finding."""
    shown = chromium.new_context(java_script_enabled=False).new_page()
    shown.goto(f"http://127.0.0.1:{served.port}/findings")
    shown.get_by_label("Kind").select_option("orphan")
    shown.get_by_label("Key begins with").fill("users/3/")
    shown.get_by_role("button", name="Show").click()
    assert set(shown.locator("tbody .kind").all_inner_texts()) <= {"orphan\nopen", "orphan\nsuspected"}
    keys = shown.locator("tbody code").all_inner_texts()
    assert keys
    assert all(key.startswith("users/3/") for key in keys)
    shown.get_by_role("link", name="Show all").click()
    seen = shown.locator("tbody tr").count()
    while shown.get_by_role("link", name="Next 50").count():
        shown.get_by_role("link", name="Next 50").click()
        seen += shown.locator("tbody tr").count()
    assert seen == 130
    shown.locator("tbody a").last.click()
    assert "alert(1)" in shown.locator("h1").inner_text()
    shown.close()
