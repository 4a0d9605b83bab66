"""Templates and the compiled mapping, without a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.config.settings import BucketOf, FileTable, MappingSettings, VersionTable
from reconcile.model import Misconfigured, Row
from reconcile.tables.columns import FREE, SEGMENT, SHAPES, Catalog, Column, Family, Index, Table, fits, split_name
from reconcile.tables.mapping import compile_mapping
from reconcile.tables.plans import scanned
from reconcile.tables.template import BadTemplate, Ref, inverse, parse, reference

UUIDS = st.uuids().map(str)
INTEGERS = st.integers(-(2**63), 2**63 - 1).map(str)
TEXTS = st.text(st.sampled_from("ab/-1_ю%") | st.characters(codec="utf-8"), max_size=12)
PIECES = {
    "u": (UUIDS, SHAPES[Family.UUID]),
    "i": (INTEGERS, SHAPES[Family.INTEGER]),
    "t": (TEXTS, FREE),
    "s": (TEXTS.filter(lambda text: "/" not in text), SEGMENT),
}


def compose(template, values):
    """Return the key of the parts' values."""
    pieces = [value + literal for value, literal in zip(values, template.literals[1:], strict=True)]
    return template.literals[0] + "".join(pieces)


@given(st.data(), st.lists(st.sampled_from("uis"), max_size=3), st.lists(st.just("t"), max_size=2))
def test_a_composed_key_splits_into_its_parts(data, kinds, free):
    """The values are always among the splits of the key that they compose, and each split composes it."""
    kinds = data.draw(st.permutations(kinds + free))
    literals = data.draw(
        st.lists(st.sampled_from(["", "/", "-", "users/", "{", "}"]), min_size=len(kinds) + 1, max_size=len(kinds) + 1)
    )
    escaped = [literal.replace("{", "{{").replace("}", "}}") for literal in literals]
    text = escaped[0] + "".join(f"{{c{n}}}{literal}" for n, literal in enumerate(escaped[1:]))
    if not kinds:
        return
    values = tuple(data.draw(PIECES[kind][0]) for kind in kinds)
    template = parse(text)
    key = compose(template, values)
    splits = inverse(template, [PIECES[kind][1] for kind in kinds])(key)
    assert values in splits
    assert {compose(template, split) for split in splits} == {key}
    assert len(set(splits)) == len(splits)


@pytest.mark.parametrize(
    ("template", "shapes", "key", "splits"),
    [
        ("{a}/{b}", "tt", "x/y/z", [("x", "y/z"), ("x/y", "z")]),
        ("{a}/{b}", "st", "x/y/z", [("x", "y/z")]),
        ("{a}{b}", "it", "120", [("1", "20"), ("12", "0"), ("120", "")]),
        ("{a}-{b}", "ii", "-1--2", [("-1", "-2")]),
        ("v{a}", "i", "v007", []),
        ("{a}", "u", "0C6A2A5E-0000-4000-8000-000000000000", []),
        ("{{{a}}}", "t", "{x}", [("x",)]),
        ("{a}.pdf", "t", "x.pdf\n", []),
    ],
)
def test_a_key_splits_in_every_possible_way(template, shapes, key, splits):
    """No split is left out, and a number or uuid in another notation is none."""
    assert list(inverse(parse(template), [PIECES[shape][1] for shape in shapes])(key)) == splits


def test_a_key_of_many_separators_does_not_explode():
    """A key of 1 024 bytes with two free texts has at most as many splits as bytes."""
    assert len(inverse(parse("{a}/{b}"), [FREE, FREE])("/" * 1024)) == 1024


@pytest.mark.parametrize("text", ["", "plain", "{", "a}b", "{}", "{a", "{file.}x{", "{a:b}", '{"a}'])
def test_a_template_that_is_none_is_refused(text):
    """Its fault says what to write."""
    with pytest.raises(BadTemplate, match=r"write|is not"):
        parse(text)


def test_names_in_a_template_may_be_quoted():
    """A column may have a brace, a colon or a quote in its name."""
    found = parse('{file."a{b}:""c"}/{version.Größe x}{y:segment}')
    assert found.parts == (Ref("file", 'a{b}:"c'), Ref("version", "Größe x"), Ref("version", "y"))
    assert found.segments == {Ref("version", "y")}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("files", (None, "files")),
        ("App.Files", ("App", "Files")),
        ('"a.b"."c""d"', ("a.b", 'c"d')),
        ("two words", (None, "two words")),
        ("a.b.c", None),
        ("", None),
        ('a"b', None),
    ],
)
def test_a_table_is_named_as_in_the_catalog(written, name):
    """Nothing is folded; quotes are for dots and quotes."""
    assert split_name(written) == name


def test_a_column_is_of_the_version_table_unless_it_says_otherwise():
    """A dot in a column's name is no table."""
    assert reference("owner") == Ref("version", "owner")
    assert reference("file.owner.id") == Ref("file", "owner.id")
    assert reference("bucket.name") == Ref("version", "bucket.name")


@pytest.mark.parametrize(
    ("family", "good", "bad"),
    [
        (Family.UUID, ["0C6A2A5E-0000-4000-8000-00000000000f", "0" * 32], ["", "x", "0" * 31, "{" + "0" * 32 + "}"]),
        (Family.INTEGER, ["0", "-1", str(2**63 - 1)], ["", "+", str(2**63), "1.0", " 1", "\u0661", "9" * 20]),
        (Family.TEXT, ["", "x", "🗂️"], ["nul\0", "\ud800"]),
    ],
)
def test_only_values_of_a_type_reach_the_server(family, good, bad):
    """One that is not would abort the whole batch."""
    assert all(fits(family)(text) for text in good)
    assert not any(fits(family)(text) for text in bad)


def column(name: str, kind: str, family: Family) -> Column:
    """Return a column of a catalog."""
    return Column(name, ("pg_catalog", kind), family)


VERSION = Table(
    "public",
    "v",
    {
        "id": column("id", "uuid", Family.UUID),
        "file_id": column("file_id", "int8", Family.INTEGER),
        "name": column("name", "text", Family.TEXT),
        "n": column("n", "int4", Family.INTEGER),
    },
    (Index(("name",), unique=False), Index(("file_id", "n", "x"), unique=True), Index(("id",), unique=True)),
)
FILE = Table("public", "f", {"id": column("id", "int8", Family.INTEGER), "slug": column("slug", "text", Family.TEXT)})


def compiled(key: str, version: Table = VERSION, file: Table = FILE):
    """Compile a mapping with this key."""
    settings = MappingSettings(
        version=VersionTable(table="v", key=key, file_id="file_id"),
        file=FileTable(table="f"),
        bucket=BucketOf(name="files"),
    )
    return compile_mapping(settings, Catalog(version, file))


@pytest.mark.parametrize(
    ("key", "probe"),
    [
        ("{file.id}/{id}/{name}", ["id"]),
        ("{file.id}/{n}/{name}", ["file_id", "n"]),
        ("{file.slug}/{name}", ["name"]),
        ("{file.slug}/{n}", ["slug"]),
    ],
)
def test_a_template_is_looked_up_by_its_best_index(key, probe):
    """A unique index first, else the longest start; the parent's id is the version's column."""
    assert [ref.column for ref in compiled(key).probe] == probe


def test_each_key_is_asked_once_with_its_parts():
    """Keys that cannot be are left out; every split is asked beside its key."""
    mapping = compiled("{file.slug}/{name}")
    found = mapping.parameters(["a/b/c", "a/b/c", "no", "nul\0/x", "\ud800/x"])
    asked = zip(found["row_part_0"], found["row_keys"], strict=True)
    assert sorted(asked) == [("b/c", "a/b/c"), ("c", "a/b/c")]
    assert mapping.parameters([]) == {"row_part_0": [], "row_keys": []}


def test_a_template_of_three_free_texts_is_refused_until_one_is_a_segment():
    """Every way to split a key is looked up, so there must be few."""
    wide = Table("public", "v", VERSION.columns | {name: column(name, "text", Family.TEXT) for name in "abc"})
    with pytest.raises(Misconfigured, match=r"\{version\.a:segment\}"):
        compiled("{a}/{b}/{c}", wide)
    assert compiled("{a:segment}/{b}/{c}", wide).probe


def test_a_mapping_that_does_not_fit_is_refused_whole():
    """Compiling tells every fault."""
    with pytest.raises(Misconfigured) as raised:
        compile_mapping(
            MappingSettings(
                version=VersionTable(table="v", key="k", size="name"), bucket=BucketOf(name="b"), owner="o"
            ),
            Catalog(VERSION, None),
        )
    assert len(raised.value.faults) == 3


def test_the_lookup_names_the_rows_fields_in_order():
    """Whatever the tables, the columns are the model's."""
    text = compiled("name").lookup.as_string()
    places = [text.index(f' AS "{field}"') for field in Row._fields]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("plan", "found"),
    [
        ({"Node Type": "Seq Scan", "Alias": "v"}, ["v"]),
        ({"Node Type": "Index Scan", "Alias": "v", "Index Cond": "(k = ANY ($1))"}, []),
        ({"Node Type": "Index Scan", "Alias": "v"}, ["v"]),
        ({"Node Type": "Index Only Scan", "Alias": "v", "Index Cond": "(k IS NOT NULL)"}, ["v"]),
        (
            {
                "Node Type": "Nested Loop",
                "Plans": [
                    {"Node Type": "Function Scan", "Alias": "asked"},
                    {"Node Type": "Bitmap Heap Scan", "Alias": "v", "Plans": [{"Node Type": "Bitmap Index Scan"}]},
                ],
            },
            ["v"],
        ),
    ],
)
def test_a_plan_tells_what_it_reads_from_end_to_end(plan, found):
    """Only an index that serves an equality counts."""
    assert list(scanned(plan)) == found
