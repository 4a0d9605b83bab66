"""The status page: its words, what no key can make of it, and whom it answers."""

from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.counting import Figure
from consumer.duties import counted
from consumer.duties.counted import Counted, Found, OfKind
from consumer.duties.losswatch import LossWindow
from consumer.pages import listing, overview, rendering, single, site
from consumer.pages.troubles import Process, Sight, troubles
from reconcile.human import visible
from reconcile.model import Unavailable

NOW = datetime(2025, 6, 1, 3, tzinfo=UTC)
FOREIGN = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")) | st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x onerror=y>', "{{ 7 * 7 }}", "\u202egpj.exe", "\x1b[31m", "&lt;b&gt;"]
)


def sight(**changed) -> Sight:
    """Return a quiet night, but for what is changed."""
    told = {
        "now": NOW,
        "process": Process("", "", 4),
        "counted": Counted(NOW.timestamp(), {"missing": OfKind()}, {}, lag_records=0, dead_letters=0),
        "restraints": [],
        "leases": [],
        "sweeps": [],
        "wanted": [],
        "outbox": (False, 0, None),
        "canaries": {},
        "lanes": [],
    }
    return Sight(**{**told, **changed})


def shown(one: Sight) -> str:
    """Return the first page."""
    return rendering.page("overview", **overview.told(one), program="p", flagging=True, here="overview", again=False)


class Elements(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.values: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note a tag, the names of its attributes, and what may be typed."""
        if (tag == "option" and self.tags[-1][0] == "datalist") or ("type", "search") in attrs:
            self.values.append(dict(attrs)["value"])
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data):
        """Note a text."""
        self.text += data


def night(word: str) -> Sight:
    """Return a night in which a foreign word is everywhere that one can be."""
    restraints = [
        (1, "brake", word, "missing", NOW, None, word, word, None),
        (2, "suppress", word, None, NOW, NOW, word, word, word),
    ]
    sweeps = [(word, word, NOW, 3, "held", NOW, 2, word)]
    leases = [("express b", word, word, NOW)]
    return sight(
        restraints=restraints, sweeps=sweeps, wanted=[LossWindow(1, word, word, NOW, NOW, 1, word)], leases=leases
    )


@given(FOREIGN)
def test_a_foreign_word_is_a_word_wherever_it_stands(word):
    """The page has the same elements as with a harmless one, and no character that steers or cannot be seen."""
    found, harmless = Elements(shown(night(word or "x"))), Elements(shown(night("x")))
    assert found.tags == harmless.tags
    assert all(char.isprintable() or char == "\n" for char in found.text)


def test_a_quiet_night_is_said_to_be_one():
    """Where nothing is wrong, that is the first thing said, and nothing is asked of anybody."""
    assert troubles(sight()) == []
    assert "All is well" in shown(sight())
    assert "Current: every event is worked off" in shown(sight())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"process": Process("", "kafka", 4)}, "kafka is away: events wait, and none is lost"),
        ({"process": Process("the loop has stood still for 61 s", "", 4)}, "This process does not work any more"),
        ({"counted": None}, "Nobody counts findings and lag now"),
        ({"lanes": ["files"]}, "The express lane of bucket files does not listen"),
        ({"sweeps": [("files", None, None, None, "never swept", None, None, None)]}, "No sweep has ever compared"),
        ({"outbox": (True, 7, datetime(2025, 6, 1, tzinfo=UTC))}, "7 changes of findings are not published yet"),
    ],
)
def test_what_is_wrong_is_said(changed, said):
    """Each has a sentence of its own, and the headline is no longer that all is well."""
    page = Elements(shown(sight(**changed))).text
    assert said in page
    assert "All is well" not in page


def test_a_dead_letter_is_a_trouble_until_somebody_has_decided():
    """It stays in its topic for good, and is counted there; it wants nobody any more."""
    told = Counted(NOW.timestamp(), {}, {}, lag_records=0, dead_letters=7, undecided=2)
    [found] = troubles(sight(counted=told))
    assert found.said.startswith("2 records never decoded")
    told.undecided = 0
    assert troubles(sight(counted=told)) == []


@pytest.mark.parametrize(("state", "resumes"), [("running", True), ("incomplete", False), ("held", False)])
def test_only_a_sweep_that_has_not_ended_is_told_to_be_resumed(state, resumes):
    """Of one that ended, incomplete or held, nothing is left to go on with: it is begun anew."""
    [found] = troubles(sight(sweeps=[("files", None, NOW, 0, state, NOW, 2, "a server was away")]))
    assert found.book == "ReconcilerSweepFails"
    assert [("--resume" in one) for one in found.do] == [resumes]


def test_no_element_stands_where_only_a_word_may():
    """A time is an element of its own; put into an attribute it would end that."""
    swept = ("files", None, datetime(2025, 6, 1, tzinfo=UTC), 0, None, None, None, None)
    found = Elements(shown(sight(sweeps=[swept])))
    assert "3 h ago" in found.text
    assert '">' not in found.text


def test_what_cannot_wait_comes_first():
    """A brake is above an orphan, whatever was found first."""
    told = Counted(NOW.timestamp(), {"orphan": OfKind(open=9), "missing": OfKind(open=1)}, {}, lag_records=0)
    brake = (1, "brake", "files", "missing", NOW, None, "x", "many", None)
    found = troubles(sight(counted=told, restraints=[brake]))
    assert [one.level for one in found] == ["act", "act", "soon"]
    assert found[0].do == ("brake status", 'brake release --kind missing --why "..."')


@pytest.mark.parametrize(
    ("bind", "host", "is_meant"),
    [
        ("127.0.0.1", "localhost:9464", True),
        ("127.0.0.1", "127.0.0.1:9464", True),
        ("::1", "[::1]:9464", True),
        ("127.0.0.1", "LOCALHOST", True),
        ("127.0.0.1", "attacker.example:9464", False),
        ("127.0.0.1", "127.0.0.1.attacker.example", False),
        ("127.0.0.1", "", False),
        ("0.0.0.0", "status.example", True),  # noqa: S104 - what a container says
    ],
)
def test_a_name_that_was_made_to_lead_here_is_not_answered(bind, host, is_meant):
    """Bound to this machine alone, only its own names are meant."""
    assert (not site.is_own(bind) or site.name_of(host) in site.SELF) is is_meant


def test_what_takes_too_long_is_not_told_as_an_outage():
    """A database that works on a question is not away: the way out is to ask for less."""
    slow = Unavailable("postgresql", "canceling statement due to statement timeout")
    assert site.in_words(slow)[0] == "That takes too long"
    assert site.in_words(Unavailable("postgresql", "connection refused"))[0] == "postgresql does not answer"


def test_what_is_counted_is_kept_for_every_process():
    """Findings by kind and group, the lag, the loss meter; what the broker did not say is not known, and not 0."""
    found = [
        Found("missing", "open", "crm", flagged=True, held=False, count=2, size_bytes=20, oldest_at=50.0),
        Found(
            "missing", "suspected", "crm", flagged=False, held=True, count=3, size_bytes=1, refused=1, oldest_at=40.0
        ),
        Found("orphan", "ignored", "", flagged=False, held=False, count=5, size_bytes=7),
    ]
    figures = [
        Figure("reconciler_figures_timestamp_seconds", 99.0),
        Figure("reconciler_lag_records", 4, ("0",)),
        Figure("reconciler_lag_records", 0, ("1",)),
        Figure("reconciler_lag_seconds", 2.5, ("0",)),
        Figure("reconciler_dead_letters_kept", 6),
        Figure("reconciler_dead_letters_undecided", 2),
        Figure("reconciler_looks_due", 8),
        Figure("reconciler_swept_drifts", 2, ("files", "missing", "today", "lost_or_silent")),
        Figure("reconciler_swept_drifts", 1, ("files", "orphan", "older", "lost_or_silent")),
    ]
    kept = counted.read([(counted.TASK, "one", counted.kept(figures, found), NOW)])
    assert kept is not None
    assert kept.kinds["missing"] == OfKind(3, 2, 0, 2, 3, 1, 21, 40.0)
    assert kept.kinds["orphan"].set_aside == 5
    assert kept.groups == {"crm": 5}
    assert (kept.lag_records, kept.lag_s, kept.looks_due) == (4, 2.5, 8)
    assert (kept.dead_letters, kept.undecided) == (6, 2)
    assert kept.swept == {"files": {"lost_or_silent": 3}}
    away = counted.read([(counted.TASK, "one", counted.kept(figures[:1], found), NOW)])
    assert away is not None
    assert (away.lag_records, away.lag_s, away.dead_letters) == (None, None, None)
    assert counted.read([(counted.TASK, "one", "of another version", NOW)]) is None


@pytest.mark.parametrize(
    ("line", "said", "command"),
    [
        ("give the version up: p purge 1 --older-than 0s", "give the version up", "p purge 1 --older-than 0s"),
        ("restore would do nothing: no backup", "restore would do nothing: no backup", ""),
    ],
)
def test_a_remedy_is_a_sentence_and_its_command(line, said, command):
    """What can be typed stands apart from what it does."""
    assert single.of_line(line, "p") == single.Repair(said, command)


@pytest.mark.parametrize(
    ("kind", "state", "commands"),
    [
        ("orphan", "open", ["orphans show 7", 'orphans approve 7 --why "..."', 'findings ignore 7 --why "..."']),
        ("orphan", "suspected", ["orphans show 7", 'findings ignore 7 --why "..."']),
        ("orphan", "approved", ["orphans show 7", "orphans delete 7", 'findings reopen 7 --why "..."']),
        ("orphan", "deleted", ["explain --bucket b 'a b'", "orphans undo 7"]),
        ("mismatch", "open", ["explain 42", 'findings ignore 7 --why "..."']),
        ("missing", "ignored", ["explain 42", 'findings reopen 7 --why "..."']),
        ("missing", "resolved", ["explain 42"]),
    ],
)
def test_what_a_person_can_do_follows_from_kind_and_state(kind, state, commands):
    """Each command is one that the state allows, and quoted for a shell."""
    row = None if kind == "orphan" else "42"
    found = {"id": 7, "kind": kind, "state": state, "bucket": "b", "key": "a b", "version_id": row}
    assert [one.command for one in single.steps(found)] == commands


def test_the_command_that_lists_the_same_is_quoted_for_a_shell():
    """A prefix is foreign text, too."""
    assert listing.command({"kind": "orphan", "prefix": "a'; rm", "held": "1"}) == (
        "findings list --kind orphan --prefix 'a'\"'\"'; rm' --held"
    )
    assert listing.command({"prefix": "-x"}) == "findings list --prefix=-x"
    found = {"id": 7, "version_id": None, "bucket": "b", "key": "-x"}
    assert single.explain(found) == "explain --bucket b -- -x"
    assert single.explain({**found, "key": "a\u202eb"}) == "findings show 7"


@pytest.mark.parametrize("word", ["docs\\2024", "\U0001f469\u200d\U0001f4bb/a", '"><b>', "a&amp;b", " a", "\x1b[31m"])
def test_what_was_searched_is_sent_again_as_it_was(word):
    """Each field of the form holds what was asked for, and no command is shown that would ask for something else."""
    found = listing.Read(NOW, (), (), has_more=False)
    told = listing.told(found, dict.fromkeys(listing.WORDS, word), [word])
    page = Elements(
        rendering.page("findings", **told, program="p", flagging=True, here="findings", again=False, level="")
    )
    assert page.values == [word] * (len(listing.WORDS) + 1)
    assert ("The same in a terminal" in page.text) is (visible(word) == word)


def test_no_page_may_run_or_load_anything():
    """The policy allows one style by its hash, and the page has that one."""
    assert "default-src 'none'; style-src 'sha256-" in rendering.policy()
    assert "script" not in rendering.policy()
    assert "unsafe" not in rendering.policy()
    assert f"<style>{rendering.style()}</style>" in shown(sight())
