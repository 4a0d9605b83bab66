"""Listings: a page's XML, the walk over pages, files that somebody brings, and the forms of a key."""

import gzip
import json
import threading
import unicodedata
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconcile.model import Misconfigured, OutOfOrder, Unavailable
from reconcile.sweeps.drift import Entry
from reconcile.sweeps.listfile import from_file
from reconcile.sweeps.listing import Page, ahead, parse, walk
from reconcile.sweeps.lookalike import normal_forms

NS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
WHEN = "2026-11-24T17:18:24.023Z"
FIELDS = f"<LastModified>{WHEN}</LastModified><ETag>&#34;e-2&#34;</ETag><Size>3</Size>"
OBJECT = f"<Contents><Key>a+b%2F%D1%8F</Key>{FIELDS}</Contents>"
URL = "<EncodingType>url</EncodingType>"
LAST = "<IsTruncated>false</IsTruncated>"
MORE = "<IsTruncated>true</IsTruncated>"
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)


def plain(*parts):
    """Write a page of ListObjectsV2."""
    return f"<ListBucketResult {NS}>{''.join(parts)}</ListBucketResult>".encode()


def versions(*parts):
    """Write a page of ListObjectVersions."""
    return f"<ListVersionsResult {NS}>{''.join(parts)}</ListVersionsResult>".encode()


def version(element, key, version_id, latest="true"):
    """Write one version, or a delete marker as AWS tells it, without size and ETag."""
    what = "<Size>3</Size>" if element == "Version" else ""
    return (
        f"<{element}>{what}<IsLatest>{latest}</IsLatest><VersionId>{version_id}</VersionId><Key>{key}</Key></{element}>"
    )


def test_a_page_is_read_by_the_names_of_its_elements():
    """Neither the order of the elements nor a namespace matters; the ETag loses its quotes, the time stays."""
    wanted = [Entry("a b/я", 3, "e-2", WHEN)]
    fields = '<Size>3</Size><Owner><ID>x</ID></Owner><ETag>"e-2"</ETag><Key>a+b%2F%D1%8F</Key>'
    stirred = f"{URL}<x:Contents xmlns:x='urn:x'>{fields}<LastModified>{WHEN}</LastModified></x:Contents>{LAST}"
    assert parse(plain(LAST, OBJECT, URL)) == Page(["a b/я"], wanted, [], None)
    assert parse(plain(stirred)).entries == wanted
    assert parse(plain(stirred).replace(NS.encode(), b"")).entries == wanted


def test_a_key_that_was_not_encoded_is_not_decoded():
    """A server that does not know encoding-type says so by not naming it."""
    assert parse(plain(LAST, OBJECT)).keys == ["a+b%2F%D1%8F"]


def test_a_delete_marker_is_no_entry():
    """Versions carry their names; markers only hold their place in the order and in the pages."""
    after = "<NextKeyMarker>b%5Bx</NextKeyMarker><NextVersionIdMarker>v0</NextVersionIdMarker>"
    rows = version("DeleteMarker", "a", "v2"), version("Version", "a", "v1", "false"), version("Version", "b", "null")
    page = parse(versions(*rows, URL, MORE, after), versions=True)
    assert page.keys == ["a", "a", "b"]
    assert page.entries == [Entry("a", 3, s3_version="v1", latest=False), Entry("b", 3, s3_version="null")]
    assert page.follow == (("key-marker", "b[x"), ("version-id-marker", "v0"))


def test_prefixes_are_decoded():
    """A delimiter's directories arrive as they are named."""
    page = parse(plain(LAST, URL, "<Prefix/>", "<CommonPrefixes><Prefix>a+b/</Prefix></CommonPrefixes>"))
    assert (page.keys, page.prefixes) == ([], ["a b/"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>no</body></html>",
        b"<Error><Code>SlowDown</Code></Error>",
        plain(LAST, OBJECT, URL)[:-30],
        plain(OBJECT, URL),
        plain(MORE, OBJECT, URL),
        plain(MORE, OBJECT, URL, "<NextContinuationToken/>"),
        plain(LAST, URL, "<Contents><Size>3</Size></Contents>"),
        plain(LAST, URL, "<Contents><Key>a</Key></Contents>"),
        plain(LAST, URL, "<Contents><Key>a</Key><Size>much</Size></Contents>"),
        plain(LAST, URL, "<Contents><Key>%ff</Key><Size>3</Size></Contents>"),
        b"<!DOCTYPE x [<!ENTITY e 'a'>]>" + plain(LAST, "<Contents><Key>&e;b</Key><Size>3</Size></Contents>"),
        b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'>" + plain(LAST),
        versions(LAST),
    ],
)
def test_what_is_no_whole_page_is_unavailable(body):
    """Nothing that might hide objects passes for a page."""
    with pytest.raises(Unavailable, match="broken"):
        parse(body)


def test_a_listing_without_versions_is_no_listing_of_versions():
    """A server that passes over `versions` is found out."""
    with pytest.raises(Unavailable, match="ListVersionsResult"):
        parse(plain(LAST), versions=True)


@given(st.binary(max_size=60) | TEXT.map(lambda text: plain(LAST, URL, text)))
def test_parsing_is_total(body):
    """Any bytes are a page or Unavailable."""
    try:
        assert isinstance(parse(body), Page)
    except Unavailable as error:
        assert "broken" in error.detail  # noqa: PT017


def pages(*chunks, follow=(("continuation-token", "t"),)):
    """Return what answers one page after another, each with the same token but the last."""
    answers = [
        Page(list(keys), [Entry(key) for key in keys], [], (*follow, ("n", str(n)))) for n, keys in enumerate(chunks)
    ]
    answers[-1] = answers[-1]._replace(follow=None)
    todo = iter(answers)
    return lambda _: next(todo)


def keys_of(ask, lower="", upper=None, *, versions=False):
    """Walk, and return the keys."""
    return [entry.key for page in walk(ask, "", lower, upper, versions=versions) for entry in page]


def test_a_walk_goes_on_by_what_the_page_says():
    """The lower bound is asked for once, then the token; pages of delete markers alone are passed over."""
    asked = []
    answer = pages("ab", "", "cd")
    ask = lambda pairs: asked.append(dict(pairs)) or answer(pairs)  # noqa: E731
    assert [[entry.key for entry in page] for page in walk(ask, "", "A", None, versions=False)] == [
        ["a", "b"],
        ["c", "d"],
    ]
    assert [pairs.get("start-after") for pairs in asked] == ["A", None, None]
    assert [pairs.get("continuation-token") for pairs in asked] == [None, "t", "t"]


def test_a_walk_ends_beyond_its_upper_bound():
    """What lies beyond is neither yielded nor asked for."""
    assert keys_of(pages("ab", "cd", "ef"), upper="c") == ["a", "b", "c"]
    assert keys_of(pages("ab", "bb", "bc"), upper="b", versions=True) == ["a", "b", "b", "b", "b"]


@pytest.mark.parametrize(
    ("chunks", "named"), [(("aca",), "'a' comes after 'c'"), (("ac", "bd"), "'b' comes after 'c'")]
)
def test_a_descending_key_gives_the_walk_up(chunks, named):
    """Within a page and between pages, and both keys are named."""
    with pytest.raises(OutOfOrder, match=named):
        keys_of(pages(*chunks))


def test_a_key_comes_twice_only_as_versions():
    """Equal keys are two versions, or a fault; and nothing comes at or before the lower bound."""
    assert keys_of(pages("aa", "ab"), versions=True) == ["a", "a", "a", "b"]
    for chunks, lower in ((("aa",), ""), (("a", "a"), ""), (("ab",), "a"), (("ab",), "b")):
        with pytest.raises(OutOfOrder):
            keys_of(pages(*chunks), lower)


def test_order_is_that_of_bytes():
    """An emoji comes after what UTF-16 would sort behind it."""
    assert keys_of(pages(["\uffff", "😀"])) == ["\uffff", "😀"]
    with pytest.raises(OutOfOrder):
        keys_of(pages(["😀", "\uffff"]))


def test_a_token_that_comes_again_is_unavailable():
    """A listing that turns in a circle never ends by itself."""
    one = Page([], [], [], (("continuation-token", "1"),))
    with pytest.raises(Unavailable, match="go on"):
        keys_of(lambda _: one)


def threads():
    """Name the threads that fetch ahead."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_pages_are_fetched_ahead():
    """While the caller holds a page, so many more are fetched, and no more."""
    taken, third = [], threading.Event()

    def source():
        for number in range(9):
            taken.append(number)
            if number == 2:
                third.set()
            yield number

    fetched = ahead(source(), 2)
    assert next(fetched) == 0
    assert third.wait(5)
    assert taken == [0, 1, 2]
    assert list(fetched) == list(range(1, 9))
    assert threads() == []


def test_what_goes_wrong_ahead_comes_out_in_its_place():
    """The pages before it arrive."""

    def source():
        yield from (1, 2)
        raise Unavailable("minio", "gone")

    fetched = ahead(source())
    assert [next(fetched), next(fetched)] == [1, 2]
    with pytest.raises(Unavailable):
        next(fetched)
    assert threads() == []


def test_closing_ends_the_thread_and_the_source():
    """A caller that stops early leaves nothing behind."""
    closed = []

    def source():
        try:
            yield from range(100)
        finally:
            closed.append(True)

    fetched = ahead(source())
    next(fetched)
    fetched.close()
    assert closed == [True]
    assert threads() == []


@pytest.fixture
def entries(tmp_path):
    """Return what writes a file and reads it as a listing."""

    def read(content):
        path = tmp_path / "listing"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return [entry for page in from_file(path) for entry in page]

    return read


MC = (
    '{"status":"success","type":"file","lastModified":"2026-11-24T17:18:24.086Z","size":3,"key":"ü 🗄/x\\ty",'
    '"etag":"e1","url":"http://127.0.0.1:9000/plain/","versionOrdinal":1,"storageClass":"STANDARD"}\n'
)
MC_FOLDER = (
    '{"status":"success","type":"folder","size":0,"key":"a/","etag":"","url":"http://h/plain/","versionOrdinal":1}\n'
)
MC_OBJECT_DIR = '{"status":"success","type":"folder","size":0,"key":"d/","etag":"d4","url":"http://h/plain/"}\n'
MC_TOTAL = '{"totalObjects":3,"totalSize":6}\n'
RCLONE = (
    '{"Path":"a/b.txt","Name":"b.txt","Size":3,"MimeType":"text/plain","ModTime":"2026-11-24T17:18:24Z","IsDir":false'
)
RCLONE_DIR = (
    '{"Path":"a","Name":"a","Size":-1,"MimeType":"inode/directory","ModTime":"2026-11-24T17:18:24Z","IsDir":true}'
)


def test_lines_of_keys(entries):
    """A key is its whole line, with its spaces and commas, however lines end; a mark of UTF-8 at the start is none."""
    assert [entry.key for entry in entries("\ufeff a,b \nя\r\n\n🗄")] == [" a,b ", "я", "🗄"]
    assert entries("a\n") == [Entry("a")]


def test_mc_ls(entries):
    """Objects of mc's JSON; a folder that has an ETag is an object named like a directory."""
    assert entries(MC_FOLDER + MC + MC_OBJECT_DIR + MC_TOTAL) == [
        Entry("ü 🗄/x\ty", 3, "e1", "2026-11-24T17:18:24.086Z"),
        Entry("d/", 0, "d4"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        f'[\n{RCLONE_DIR},\n{RCLONE}}},\n{RCLONE},"Hashes":{{"md5":"x"}},"Metadata":{{"tier":"S"}}}}\n]\n',
        f"[{RCLONE}}},{RCLONE}}}]",
        f"{RCLONE}}}\n\n{RCLONE}}}\n{RCLONE_DIR}",
    ],
)
def test_rclone_lsjson(entries, text):
    """An array as rclone writes it, in one line, or one object a line; hashes are no ETags, directories no objects."""
    assert entries(text) == [Entry("a/b.txt", 3, "", "2026-11-24T17:18:24Z")] * 2


def test_an_empty_array_lists_nothing(entries):
    """So rclone tells of an empty bucket."""
    assert entries("[\n]\n") == []


def test_csv_with_a_header(entries):
    """Columns go by their names, in any order and spelling; what is not there is not told."""
    assert entries('Size,Last Modified,path,x,ETag\n3,now,"a,""b""\nc",,"""e"""\n,,d,,\n\n') == [
        Entry('a,"b"\nc', 3, "e", "now"),
        Entry("d"),
    ]
    assert entries("name,size\nkey,0\n") == [Entry("key", 0)]


def test_s3_inventory(entries):
    """Bucket, encoded key, size, and perhaps time and ETag."""
    assert entries('"b","a+b%2F%D1%8F","3","now","e"\n"b","c","0","now","f"\n') == [
        Entry("a b/я", 3, "e", "now"),
        Entry("c", 0, "f", "now"),
    ]
    assert entries('"b","c","0"\n') == [Entry("c", 0)]


@pytest.mark.parametrize("text", ["", "a\nb\n", MC, "key,size\na,1\n"])
def test_gzip_is_unpacked(entries, text):
    """By its first bytes, whatever it is named."""
    assert entries(gzip.compress(text.encode())) == entries(text)


@pytest.mark.parametrize(
    ("content", "line", "rule"),
    [
        ("a\n" + "x" * 1025 + "\n", 2, "1024 bytes"),
        (b"a\nb\n\xff\n", 3, "utf-8"),
        ("a\0b\n", 1, "NUL"),
        ("x" * (1 << 20), 1, "1 MiB"),
        (MC + '{"status":"error","error":{"message":"Unable to list folder."}}\n', 2, "could not list"),
        (MC + MC[:40], 2, "one object a line"),
        (MC.replace("/plain/", "/plain/b/"), 1, "ALIAS/BUCKET"),
        (MC.replace('"versionOrdinal"', '"versionId":"v","x"'), 1, "--versions"),
        ('{"a":1}\n', 1, "1024 bytes"),
        (MC.replace('"size":3', '"size":"3"'), 1, "jq"),
        ("[" * 200_000, 1, "Expected"),
        ("[2026-11-24 17:18:24 UTC]     3B STANDARD a\n", 1, "mc and rclone"),
        (f"[\n{RCLONE}}},\n", 2, "cut off"),
        ("key,size\na,1\nb\n", 3, "1 fields"),
        ("key,size\na,much\n", 2, "digits"),
        ('key,size\na,1\n"b,2\n', 3, "end of data"),
        ("key,size,is_latest\na,1,true\n", 1, "versions"),
        ('"b","k","v","true","3"\n', 1, "third field"),
        ('"b","%ff","3"\n', 1, "utf-8"),
        ('"b","a","3","x"\n"b","a","3"\n', 2, "3 fields"),
    ],
)
def test_a_bad_line_is_named(entries, content, line, rule):
    """File, line, text and rule are told, and nothing long."""
    with pytest.raises(Misconfigured, match=rule) as caught:
        entries(content)
    assert f"listing: line {line}: " in str(caught.value)
    assert len(str(caught.value)) < 600


def test_what_cannot_be_read_is_named(entries, tmp_path):
    """A missing file, a directory, and half a gzip."""
    with pytest.raises(Misconfigured, match="nowhere"):
        list(from_file(tmp_path / "nowhere"))
    with pytest.raises(Misconfigured, match=tmp_path.name):
        list(from_file(tmp_path))
    with pytest.raises(Misconfigured, match="whole file"):
        entries(gzip.compress(b"a\n" * 1000)[:-9])


def test_a_file_is_read_by_the_page(tmp_path):
    """Pages have 10 000 entries, in the file's order; a bad line far behind does not hinder them."""
    path = tmp_path / "listing"
    path.write_text("".join(f"{number}\n" for number in range(25_000)) + "x" * 2000)
    pages = from_file(path)
    assert [entry.key for entry in next(pages)] == [f"{number}" for number in range(10_000)]
    assert len(next(pages)) == 10_000
    with pytest.raises(Misconfigured, match="line 25001"):
        next(pages)


@given(st.lists(TEXT.filter(lambda key: not set(key) & set("\n\r") and len(key.encode()) <= 1024), min_size=1))
@example(["KEYNAME"])
def test_every_key_survives_every_form(tmp_path_factory, keys):
    """JSON and CSV carry any key."""
    path = tmp_path_factory.mktemp("forms") / "listing"
    csv_lines = ['"{}",1'.format(key.replace('"', '""')) for key in keys]
    forms = (
        "\n".join(json.dumps({"key": key, "size": 1, "status": "success"}) for key in keys),
        json.dumps([{"Path": key, "Size": 1} for key in keys]),
        "\n".join(["key,size", *csv_lines]),
        "\n".join(f'"b","{quote_plus(key)}","1"' for key in keys),
    )
    for form in forms:
        path.write_text(form, newline="")
        assert [entry for page in from_file(path) for entry in page] == [Entry(key, 1) for key in keys]


@pytest.mark.parametrize(
    ("key", "forms"),
    [
        ("a/b", {"/a/b", "a%2Fb"}),
        ("/a", {"a", "//a", "%2Fa"}),
        ("a//b", {"a/b", "/a//b", "a%2F%2Fb"}),
        ("a b", {"a%20b", "a+b", "/a b"}),
        ("a+b", {"a b", "a%2Bb", "/a+b"}),
        ("a%20b", {"a b", "a%2520b", "/a%20b"}),
        ("a/", {"a__XLDIR__", "/a/"}),
        ("a__XLDIR__", {"a/", "/a__XLDIR__"}),
        ("/a%20//e\u0301", {"a /\u00e9", "a /e\u0301", "/a //e\u0301"}),
    ],
)
def test_other_forms_of_a_key(key, forms):
    """One step each, and all tidied at once."""
    assert forms <= normal_forms(key)
    assert key not in normal_forms(key)


@given(st.text(max_size=30) | st.text("/%+ é\u0301a0\0", max_size=12) | st.just("x" * 1024))
def test_forms_are_few_and_possible_keys(key):
    """Whatever the key, its forms are at most 17, and a server could hold each."""
    forms = normal_forms(key)
    assert len(forms) <= 17
    assert key not in forms
    assert all(0 < len(form.encode()) <= 1024 and "\0" not in form for form in forms)


@given(TEXT)
def test_what_was_mangled_once_is_found_again(key):
    """An object under a mangled name is a form of the row's key, and the other way about."""
    mangled = (f"/{key}", quote(key), quote(key, safe=""), quote_plus(key), unicodedata.normalize("NFC", key))
    for other in mangled:
        assert other == key or other in normal_forms(key)
    for other in mangled[:4]:
        assert other == key or key in normal_forms(other)
