"""Table and Section in every form of output, and values as a person reads them."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile import human
from reconcile.reports import forms, page
from reconcile.reports.forms import Section, Table

NOW = datetime(2025, 6, 1, 12, 0, 0, 250_000, tzinfo=UTC)
TABLE = Table(
    "findings",
    ("id", "key", "size_bytes", "suspected_at"),
    [(7, "users/é.pdf", 20 * 1024 * 1024, NOW - timedelta(minutes=3)), (12, "a\x1b[31mb\n", None, None)],
    notes=("2 of 9",),
)
SECTION = Section("status", "Status", {"lag": 1200, "p50_ms": 12.3, "brake": "on", "held": True}, (TABLE,), ("a note",))


def test_text_table_is_aligned_and_humanised():
    """Numbers are right-aligned, sizes and ages humanised, control characters visible."""
    assert forms.plain(forms.text(TABLE, NOW)).splitlines() == [
        "id  key             size  suspected",
        " 7  users/é.pdf   20 MiB  3 m ago",
        "12  a\\x1b[31mb\\n       -  -",
        "2 of 9",
    ]


def test_text_section_shows_facts_then_parts():
    """Facts stand in two columns, with a blank line before each part."""
    lines = forms.plain(forms.text(SECTION, NOW)).splitlines()
    assert lines[:7] == ["Status", "lag    1,200", "p50    12.3 ms", "brake  on", "held   yes", "a note", ""]


def test_text_says_so_where_there_are_no_rows():
    """A table without rows says what that means instead of showing bare headings."""
    assert forms.plain(forms.text(Table("findings", ("id",), [], none="no finding"))) == "no finding\n"


def test_styles_follow_the_word():
    """What is bad stands out; a style belongs to a span and never enters the text."""
    [_, line, *_] = list(forms.text(Table("t", ("kind", "id"), [("missing", 1)])))
    assert line[0] == forms.Span("missing  ", "red")


def test_json_keeps_names_units_and_times():
    """JSON holds exact values under stable names: bytes, ISO times in UTC, null."""
    first, second = json.loads(forms.as_json(TABLE))
    assert first == {
        "id": 7,
        "key": "users/é.pdf",
        "size_bytes": 20971520,
        "suspected_at": "2025-06-01T11:57:00.250Z",
    }
    assert second["key"] == "a\x1b[31mb\n"
    assert second["size_bytes"] is None


def test_json_of_a_section_nests_its_parts_by_name():
    """A section is one object: its facts, each part under its name, and its notes."""
    found = json.loads(forms.as_json(SECTION))
    assert found["lag"] == 1200
    assert found["held"] is True
    assert [row["id"] for row in found["findings"]] == [7, 12]
    assert found["notes"] == ["a note"]


def test_jsonl_is_a_line_a_row():
    """JSONL is one object a line; a section is one line."""
    lines = forms.as_jsonl(TABLE).splitlines()
    assert [json.loads(line)["id"] for line in lines] == [7, 12]
    assert json.loads(forms.as_jsonl(SECTION))["brake"] == "on"


@given(st.lists(st.text(), min_size=2, max_size=2))
def test_csv_reads_back_as_it_was_written(cells):
    """Whatever is in a cell: quotes, delimiters, line ends of every kind."""
    table = forms.Table("t", ("a", "b"), [cells])
    [_, read] = csv.reader(io.StringIO(forms.as_csv(table), newline=""))
    assert read == cells


def test_csv_of_a_table_and_of_a_section():
    """A table is a table with a header; a section is names and values, nested names joined by dots."""
    rows = list(csv.reader(io.StringIO(forms.as_csv(TABLE))))
    assert rows[0] == ["id", "key", "size_bytes", "suspected_at"]
    assert rows[2] == ["12", "a\x1b[31mb\n", "", ""]
    named = dict(csv.reader(io.StringIO(forms.as_csv(SECTION))))
    assert named["findings.1.id"] == "12"
    assert named["held"] == "true"


def test_html_is_one_page_and_escapes():
    """The page is self-contained, escapes what it shows, and keeps the exact time beside the age."""
    shown = page.as_html(Table("t", ("key", "seen_at"), [("<script>x</script>", NOW)]), NOW)
    assert "<script>x" not in shown
    assert "&lt;script&gt;x" in shown
    assert 'title="2025-06-01T12:00:00.250Z">now<' in shown
    assert not re.search(r"(src|href)=", shown)


@given(st.text())
def test_nothing_that_a_terminal_obeys_leaves(text):
    """Whatever a key holds, no control or direction-changing character reaches a terminal, in text or JSON."""
    table = Table("t", ("key",), [(text,)])
    for shown in (forms.plain(forms.text(table)), forms.as_json(table)):
        assert not set(re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown))
    if text.isprintable():
        assert json.loads(forms.as_json(table)) == [{"key": text}]


@given(st.text(max_size=80), st.integers(3, 40))
def test_shortened_text_fits(text, cells):
    """A shortened text never takes more cells than it may."""
    assert human.width(human.shorten(human.visible(text), cells)) <= cells


def test_wide_columns_give_way_first():
    """On a narrow terminal the widest column loses its middle, the others keep their words."""
    table = Table("t", ("kind", "key"), [("missing", "users/0123456789/documents/2024/report.pdf")])
    [_, row] = forms.plain(forms.text(table, cells=30)).splitlines()
    assert row == "missing  users/0…24/report.pdf"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("size_bytes", 0, "0 B"),
        ("size_bytes", 1023, "1023 B"),
        ("size_bytes", 1536, "1.5 KiB"),
        ("size_bytes", 1024 * 1024 - 1, "1.0 MiB"),
        ("size_bytes", 5 * 1024**4, "5.0 TiB"),
        ("taken_ms", 0.4, "0.4 ms"),
        ("taken_ms", 61_000, "1 m 1 s"),
        ("taken_s", 7_500, "2 h 5 m"),
        ("taken_s", 86_400 * 4, "4 d"),
        ("lag", 10_213, "10,213"),
        ("id", 10_213, "10213"),
        ("at", NOW - timedelta(seconds=59), "59 s ago"),
        ("at", NOW + timedelta(hours=3), "in 3 h"),
        ("at", NOW - timedelta(days=3), "3 d ago"),
        ("at", NOW - timedelta(days=400), "2024-04-27"),
        ("names", ["a", "b"], "a, b"),
        ("names", {"a": 1}, "a 1"),
        ("nothing", None, "-"),
        ("nothing", [], "-"),
    ],
)
def test_values_as_a_person_reads_them(name, value, shown):
    """The end of a field's name says its unit, and the value carries it."""
    assert human.human(name, value, NOW) == shown
