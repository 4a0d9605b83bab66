"""A sweep's report for people and programs: its headline, its forms, its page, its metrics."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.human import visible
from reconcile.reports import forms
from reconcile.reports.sweepmetrics import metrics
from reconcile.reports.sweeppage import page
from reconcile.reports.sweepreport import drifts, headline, shown
from reconcile.sweeps.drift import Class, Count, Drift, Meter, Metered, OfKind, Past, SweepReport

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
EMPTY = SweepReport(
    "files", "report only", "complete", NOW, NOW + timedelta(seconds=9.5), totals={"objects": 7, "rows": 1, "agreed": 1}
)
MISSING = Drift(
    Class.MISSING, "files", "a/é.pdf", "v1", "42", "never uploaded", 20 << 20, "crm", "ann", NOW, meter=Meter.NEVER
)
FULL = replace(
    EMPTY,
    id=9,
    totals={"objects": 200_000, "rows": 199_991, "agreed": 199_985, "healed": 4},
    by_kind=[OfKind("missing", 3, 1, 60 << 20), OfKind("mismatch", 0, 0, 0), OfKind("orphan", 12, 12, 1 << 10)],
    by_group=[Count("crm", missing=3, size_bytes=60 << 20)],
    by_prefix=[Count(f"p{at}/", orphan=12) for at in range(30)],
    by_age=[Count("today", missing=3, orphan=12)],
    meter=[Metered("missing", "today", 1, 1, 0), Metered("missing", "older", 0, 0, 1)],
    drifts=[MISSING, Drift(Class.ORPHAN, "files", "b")],
    total_drifts=15,
    history=[Past(8, NOW - timedelta(days=1), "complete", 199_000, 199_000, 2, 0, 5, 0)],
    notes=("a note",),
)
HELD = replace(FULL, state="held", reason="61 % are missing")
BROKEN = replace(FULL, state="incomplete", reason="HTTP 503", finished_at=None, resumable=True)
SILENT = replace(FULL, state="incomplete", reason="2 keys gave no answer")
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "<!--<script>",
    "\"'&amp;",
    "rtl-\u202egnp.exe",
    "\x00\x1b[31m\n\u2028",
    "\ud800",
    "{{title}} \\1",
    "🚀 עברית",
)


def lines_of(report):
    """Return the text for a terminal of 80 cells."""
    return forms.plain(forms.text(shown(report), NOW, 80)).splitlines()


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (FULL, "Sweep of files: complete: 3 missing, 12 orphans among 200,000 objects and 199,991 rows"),
        (EMPTY, "Sweep of files: complete: no drift among 7 objects and 1 row"),
        (HELD, "Sweep of files: HELD: 3 missing, 12 orphans so far among 200,000 objects and 199,991 rows"),
        (replace(BROKEN, by_kind=(), totals={}), "Sweep of files: INCOMPLETE: nothing found so far"),
        (replace(EMPTY, by_kind=[OfKind("orphan", 1, 1, 0)], totals={}), "Sweep of files: complete: 1 orphan"),
        (replace(EMPTY, by_kind=[OfKind("healed", 4, 4, 0)], totals={}), "Sweep of files: complete: no drift"),
    ],
)
def test_headline_tells_what_it_came_to(report, expected):
    """The headline names bucket, state and counts, and never calls a sweep free of drift that is not complete."""
    assert headline(report) == expected
    assert lines_of(report)[0] == expected


@pytest.mark.parametrize(
    ("report", "done"),
    [(HELD, "sweep again"), (SILENT, "sweep again"), (BROKEN, "sweep --bucket files --resume")],
)
def test_text_says_why_and_what_to_do(report, done):
    """A sweep that is held or incomplete tells its reason and the way out, in text and on the page."""
    for told in ("\n".join(lines_of(report)), page(report)):
        assert report.reason in told
        assert done in told
        assert (report is BROKEN) == ("--resume" in told)


def test_text_leaves_out_what_is_empty():
    """A sweep without drift, history or meter is a dozen lines, without bare headings or names without value."""
    text = lines_of(EMPTY)
    assert len(text) < 12
    assert not {"By group", "Drifts", "Should the stream have told?", "prefix", "reason"} & {
        line.strip() for line in text
    }


def test_text_shows_the_first_of_what_is_long():
    """Long tables are cut, columns that are empty throughout are left out, and both are said."""
    text = "\n".join(lines_of(FULL))
    assert "20 of 30" in text
    assert "2 of 15; --format json has the first 2" in text
    assert "4 healed" in text
    assert re.search(r"^group +missing +size$", text, re.MULTILINE)


def test_two_wide_columns_share_what_there_is():
    """A key is not cut to nothing because the cause beside it is just as long."""
    wide = replace(EMPTY, drifts=[replace(MISSING, key="k" * 90, cause="c" * 90)])
    [line] = [line for line in lines_of(wide) if "kk" in line]
    assert abs(line.count("k") - line.count("c")) < 3
    assert len(line) <= 80


def test_json_has_stable_names():
    """Whatever the sweep found, JSON has the same names, and null or an empty list where nothing is known."""
    full, empty = (json.loads(forms.as_json(shown(report))) for report in (FULL, EMPTY))
    assert list(full) == list(empty)
    assert list(full["totals"]) == list(empty["totals"])
    assert empty["reason"] is None
    assert empty["totals"]["unknown"] is None
    assert empty["drifts"] == empty["notes"] == empty["history"] == []


def test_json_has_exact_values():
    """A drift in JSON has all its fields, bytes as a number and time as ISO 8601."""
    [missing, orphan] = json.loads(forms.as_jsonl(shown(FULL)))["drifts"]
    assert missing == {
        "kind": "missing",
        "bucket": "files",
        "key": "a/é.pdf",
        "s3_version": "v1",
        "row_id": "42",
        "cause": "never uploaded",
        "size_bytes": 20 << 20,
        "group": "crm",
        "owner": "ann",
        "since": "2025-06-01T12:00:00.000Z",
        "counterpart": "",
        "is_new": True,
        "known": False,
        "meter": "never an event",
    }
    assert orphan["since"] is None


def test_csv_is_names_and_values_or_a_line_for_each_drift():
    """The report as CSV is names and values; its drifts alone are a table."""
    leaves = dict(csv.reader(io.StringIO(forms.as_csv(shown(FULL)))))
    assert leaves["state"] == "complete"
    assert leaves["by_kind.0.found"] == "3"
    [first, _] = csv.DictReader(io.StringIO(forms.as_csv(drifts(FULL))))
    assert (first["kind"], first["key"], first["is_new"]) == ("missing", "a/é.pdf", "true")


SAMPLE = re.compile(r'([a-z_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*)\} (-?[0-9.e+]+)')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')
UNESCAPED = {r"\n": "\n", r"\"": '"', r"\\": "\\"}


def parsed(text):
    """Read the text format: samples by name and labels; each family is declared once, before its samples."""
    samples, typed = {}, []
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# "):
            _, word, name, *_ = line.split(" ")
            typed += [name] if word == "TYPE" else []
            continue
        found = SAMPLE.fullmatch(line)
        assert found, line
        assert found[1] == typed[-1]
        labels = {name: re.sub(r"\\.", lambda at: UNESCAPED[at[0]], value) for name, value in LABEL.findall(found[2])}
        samples[found[1].removeprefix("reconciler_sweep_"), *sorted(labels.items())] = float(found[3])
    assert len(set(typed)) == len(typed)
    return samples


def test_metrics_tell_what_the_report_has():
    """Counts, bytes and the meter come by kind; what a complete sweep does not name is zero."""
    samples, bucket = parsed(metrics(FULL)), ("bucket", "files")
    assert samples["last_complete_timestamp_seconds", bucket] == NOW.timestamp()
    assert samples["duration_seconds", bucket] == 9.5
    assert samples["objects", bucket] == 200_000
    assert samples["held", bucket] == 0
    assert samples["drifts", bucket, ("kind", "orphan")] == 12
    assert samples["drifts", bucket, ("kind", "leftover")] == 0
    assert samples["drift_bytes", bucket, ("kind", "missing")] == 60 << 20
    assert samples["events", bucket, ("kind", "missing"), ("meter", "unmeasured")] == 1
    assert metrics(FULL).endswith("\n")


def test_metrics_claim_nothing_that_was_not_counted():
    """An incomplete sweep has no duration and no zeros, and tells when the last complete one began."""
    samples = parsed(metrics(replace(BROKEN, totals={})))
    assert samples["last_complete_timestamp_seconds", ("bucket", "files")] == (NOW - timedelta(days=1)).timestamp()
    assert not [name for name in samples if name[0] in {"duration_seconds", "objects", "rows"}]
    assert ("drifts", ("bucket", "files"), ("kind", "leftover")) not in samples
    assert parsed(metrics(HELD))["held", ("bucket", "files")] == 1


def test_metrics_take_no_listing_that_was_brought_for_the_last_complete_sweep():
    """It may be of any time: neither this one nor one of the history; what it found is told all the same."""
    name, past = ("last_complete_timestamp_seconds", ("bucket", "files")), Past(3, NOW, "complete", 9, 9, 0, 0, 0, 0)
    brought = replace(FULL, brought=True, history=[past._replace(brought=True)])
    samples = parsed(metrics(brought))
    assert name not in samples
    assert samples["objects", ("bucket", "files")] == 200_000
    own = past._replace(id=2, started_at=NOW - timedelta(days=3))
    samples = parsed(metrics(replace(brought, history=[*brought.history, own])))
    assert samples[name] == own.started_at.timestamp()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_metrics_escape_labels(bucket):
    """Any bucket's name survives the format."""
    assert parsed(metrics(replace(EMPTY, bucket=bucket)))["objects", ("bucket", bucket)] == 7


class Elements(HTMLParser):
    """The elements of a page, and the text within its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags, self.scripts, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        """Note an element."""
        self.tags.append((tag, dict(attrs)))
        self.open = [*self.open, tag]
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        """Leave an element, and what was left open within it."""
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        """Keep what stands in a script."""
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data


def elements(report):
    """Return the page's elements."""
    found = Elements()
    found.feed(page(report))
    return found


@pytest.mark.parametrize("text", HOSTILE)
def test_page_takes_no_orders_from_a_key(text):
    """Whatever a name holds, the page has the elements of a harmless one, and all text that steers is spelled out."""

    def named(name):
        drift = Drift(Class.MISSING, name, name, name, name, name, 1, name, name, NOW, name)
        counts = [Count(name, missing=1)]
        return replace(
            HELD, bucket=name, mode=name, prefix=name, reason=name, drifts=[drift], by_prefix=counts,
            by_group=counts, by_age=counts, meter=[Metered("missing", name, 1, 0, 0)], notes=[name],
        )  # fmt: skip

    hostile, harmless = elements(named(text)), elements(named("name"))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in harmless.tags]
    assert [sorted(attrs) for _, attrs in hostile.tags] == [sorted(attrs) for _, attrs in harmless.tags]
    assert not re.search("[\x00-\x09\x0b-\x1f\u2028\u202e\ud800]", page(named(text)))
    page(named(text)).encode()


@pytest.mark.parametrize("text", HOSTILE)
def test_embedded_json_cannot_leave_its_element(text):
    """The script reads each key back as a person may see it, and no character of it is markup."""
    listed, script = elements(replace(FULL, drifts=[replace(MISSING, key=text)])).scripts
    assert not set("<>&") & set(listed)
    assert json.loads(listed)[0][1] == visible(text)
    assert script == elements(EMPTY).scripts[1]


@pytest.mark.parametrize("report", [EMPTY, FULL, HELD, BROKEN, replace(EMPTY, totals={}, state="running")])
def test_page_asks_nothing_of_any_network(report):
    """The page loads nothing, allows nothing to be loaded, and names no other place; its parts are all filled in."""
    found = elements(report)
    assert not {tag for tag, _ in found.tags} & {"link", "img", "iframe", "object", "a", "form"}
    assert not [attrs for _, attrs in found.tags if {"src", "href"} & attrs.keys()]
    assert any("default-src 'none'" in (attrs.get("content") or "") for _, attrs in found.tags)
    assert not re.search(r"https?://|url\(|@import|\{\{", page(report))


def test_page_shows_the_first_drifts_without_its_script():
    """Without JavaScript the first 200 drifts are there to read; the script has them all."""
    many = replace(FULL, drifts=[replace(MISSING, key=f"k{at}") for at in range(450)], total_drifts=450)
    found = elements(many)
    assert len([tag for tag, attrs in found.tags if tag == "td" and attrs.get("class") == "key"]) == 200
    assert len(json.loads(found.scripts[0])) == 450


def test_page_never_rounds_up_to_all():
    """One drift in a million is not 100 %."""
    totals = {"agreed": 999_999}
    assert "99.99 %" in page(replace(EMPTY, totals=totals, by_kind=[OfKind("orphan", 1, 1, 0)]))
    assert "100 %</b>" in page(replace(EMPTY, totals=totals))


def test_history_is_drawn_to_the_scale_of_what_is_believed():
    """A held sweep is pale and does not flatten the others; this sweep is drawn once, as the last."""
    held = Past(7, NOW - timedelta(days=2), "held", 1, 1, 9_000, 0, 0, 0)
    found = page(replace(FULL, history=[*FULL.history, held]))
    assert "missing in 3 sweeps: at most 3, in the latest 3" in found
    assert found.count('<rect class="weak"') == 2
    assert "missing in 3 sweeps" in page(
        replace(FULL, history=[Past(9, NOW, "complete", 1, 1, 3, 0, 12, 0), held, held])
    )
