"""The command line: where options may stand, what is refused, what an end is worth as an exit status."""

import argparse
import importlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
import structlog

from consumer import logs
from consumer.cli import build_parser, parse
from consumer.commands import about, output, plan, running
from consumer.commands.answer import Answer, Exit, Failure, exit_status
from consumer.commands.call import Call
from consumer.commands.triage import Told
from reconcile.database import Busy
from reconcile.model import Misconfigured, ObjectRef, Unavailable
from reconcile.repair.triage import Named, Outcome
from reconcile.reports.forms import Format, Section, Table

EMPTY = Table("t", ("a",), [])


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield every command's own parser."""
    below = [action for action in parser._actions if isinstance(action.choices, dict)]  # noqa: SLF001
    for action in below:
        for one in action.choices.values():
            yield from leaves(one)
    if not below:
        yield parser


@pytest.mark.parametrize("parser", list(leaves(build_parser())), ids=lambda parser: parser.prog)
def test_every_command_runs_something_and_has_the_common_options(parser):
    """Each command names a function that exists, and takes every common option."""
    module, _, function = parser.get_default("run").partition(":")
    assert callable(getattr(importlib.import_module(f"consumer.commands.{module}"), function))
    flags = {flag for action in parser._actions for flag in action.option_strings}  # noqa: SLF001
    common = {"--config", "-o", "--format", "--output-file", "--log-level", "--log-format", "--dry-run", "--help"}
    assert common <= flags


def test_common_options_stand_before_or_after_the_command():
    """The same option means the same before and after the command; what is not given keeps its default."""
    before = parse(["-o", "json", "--config", "x.toml", "findings", "list"])
    after = parse(["findings", "list", "--config", "x.toml", "-o", "json"])
    assert vars(before) == vars(after)
    assert before.log_level == "info"
    assert parse(["-o", "json", "status", "-o", "csv"]).format == "csv"


@pytest.mark.parametrize("number", ["0", "-1", "9223372036854775808", "one"])
@pytest.mark.parametrize(
    "words",
    [
        "findings show", "findings note --why x", "findings ignore", "findings reopen", "findings list --after",
        "findings rules lift", "orphans show", "orphans approve", "orphans delete", "orphans undo",
        "orphans list --after", "restore", "purge --older-than 0s", "suppress lift", "sweep --join", "sweep --dismiss",
    ],
)  # fmt: skip
def test_what_cannot_be_an_id_is_a_usage_error_that_names_it(words, number, capsys):
    """Whichever command it is given to: no number reaches the database that it cannot keep."""
    with pytest.raises(SystemExit) as ended:
        parse([*words.split(), number])
    assert (ended.value.code, f"'{number}' is no id" in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize(
    "words", ["findings list", "orphans list", "restore --all", "purge --older-than 0s", "scrub", "dead-letters list"]
)
def test_a_limit_is_bounded_as_the_databases_numbers_are(words, capsys):
    """And the value is named."""
    with pytest.raises(SystemExit):
        parse([*words.split(), "--limit", str(2**63)])
    assert str(2**63) in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    ["findings list", "restore --all", "purge --older-than 0s", "scrub", "orphans delete"]
    + [f"dead-letters {act}" for act in ("list", "replay", "discard")],
)
def test_a_limit_under_which_nothing_is_found_is_a_usage_error(words, capsys):
    """Nothing is told as if there was nothing."""
    with pytest.raises(SystemExit) as ended:
        parse([*words.split(), "--limit", "0"])
    assert (ended.value.code, "--limit: '0': must be at least 1" in capsys.readouterr().err) == (Exit.USAGE, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("status --watch -1", "--watch: '-1': must be a duration"),
        ("sweep --margin nan", "--margin: 'nan': must be a duration"),
        ("sweep --margin inf", "--margin: 'inf': must be a duration"),
        ("scrub --margin -0.5", "--margin: '-0.5': must be a duration"),
        ("scrub --for 9999999d", "--for: '9999999d': must be a duration of at most a hundred years"),
        ("scrub --rate 0", "--rate: '0': must be at least 1"),
        ("purge --older-than 30", "--older-than: '30': must be a duration, a number with its unit"),
        ("orphans list --older-than month", "--older-than: 'month': must be a duration"),
        ("orphans list --larger-than much", "--larger-than: 'much': must be a number of bytes"),
        (f"orphans list --larger-than {'9' * 400}", "9': must be less than 8 EiB"),
        ("findings list --since soon", "--since: 'soon': must be a duration such as 90m, 24h or 7d, or a time"),
        ("report --until 0001-01-01", "--until: '0001-01-01': must be a duration"),
        ("suppress add --bucket b --until 9999-12-31T23:00-14:00", "14:00': must be a duration"),
        ("init --partitions -3", "--partitions: '-3': must be at least 1"),
        ("init --partitions 100001", "--partitions: '100001': must be at most 100000"),
        ("init --replication 0", "--replication: '0': must be at least 1"),
        ("sweep --workers 0", "--workers: '0': must be at least 1"),
        ("sweep --spool /no/where", "--spool: '/no/where': is not a directory; make it, or name another"),
        ("scrub --spool /no/where", "--spool: '/no/where': is not a directory; make it, or name another"),
        ("scrub --limit many", "--limit: 'many': must be a whole number"),
        ("findings list --depth 256", "--depth: '256': must be at most 255"),
        ("orphans list --depth 0", "--depth: '0': must be at least 1"),
        ("orphans list --limit -1", "--limit: '-1': must be at least 0"),
        ("replay --from 7days", "--from: '7days': must be an offset (1200), a time"),
    ],
)
def test_a_value_that_cannot_be_meant_is_a_usage_error_that_names_it_and_the_rule(words, told, capsys):
    """Before any server is asked, and with no traceback."""
    with pytest.raises(SystemExit) as ended:
        parse(words.split())
    assert (ended.value.code, told in capsys.readouterr().err) == (Exit.USAGE, True)


def test_a_margin_is_a_duration_and_a_number_alone_is_of_seconds():
    """As everywhere, and as it was."""
    margins = [parse(["sweep", "--margin", word]).margin for word in ("2.5", "2500ms", "2s 500ms")]
    assert margins == [timedelta(seconds=2.5)] * 3
    assert parse(["status", "--watch"]).watch == timedelta(seconds=2)
    assert parse(["report"]).since == timedelta(days=1)


@pytest.mark.parametrize(
    "words",
    [
        "brake release --apply",
        "sweep --apply",
        "sweep --fix",
        "sweep --baseline",
        "scrub --apply",
        "scrub --fix",
    ],
)
def test_what_writes_and_dry_run_exclude_each_other(capsys, words):
    """Nobody has to guess which of the two wins."""
    with pytest.raises(SystemExit) as end:
        parse([*words.split(), "--dry-run"])
    assert end.value.code == Exit.USAGE
    assert "exclude each other" in capsys.readouterr().err


def test_the_core_of_a_plan_is_the_same_with_and_without_apply():
    """Without --apply an act is told and not done; with it the same act is done and told."""
    done = []
    act = plan.Act("create topic", "events", "4 partitions", lambda: done.append(1))
    told = plan.carry_out("init", [act], apply=False, nothing="")
    assert done == []
    assert told.shown.rows == [("create topic", "events", "4 partitions", "planned")]
    told = plan.carry_out("init", [act], apply=True, nothing="")
    assert done == [1]
    assert told.shown.rows == [("create topic", "events", "4 partitions", "done")]


def test_an_act_that_fails_ends_a_plan_and_those_after_it_are_told_as_not_tried():
    """What was done before it stands; an end that nobody expected is no end of this kind."""
    done = []

    def fail():
        raise Unavailable("kafka", "gone")

    acts = [plan.Act("a", name, "", do) for name, do in (("1", lambda: done.append(1)), ("2", fail), ("3", fail))]
    told = plan.carry_out("init", acts, apply=True, nothing="")
    assert [one[-1] for one in told.shown.rows] == ["done", "failed", "not tried"]
    assert (done, told.failure.status) == ([1], Exit.UNREACHABLE)
    with pytest.raises(ZeroDivisionError):
        plan.carry_out("init", [plan.Act("a", "1", "", lambda: 1 // 0)], apply=True, nothing="")


@pytest.mark.parametrize(
    ("outcome", "on_drift", "status"),
    [
        (Answer(EMPTY), True, 0),
        (Answer(EMPTY, drift=True), False, 0),
        (Answer(EMPTY, drift=True), True, 3),
        (Answer(EMPTY, drift=True, held=True), True, 4),
        (Answer(EMPTY, drift=True, held=True, incomplete=True), True, 5),
        (Answer(EMPTY, interrupted=True), False, 130),
        (Failure(Exit.UNREACHABLE, ("x",)), False, 6),
    ],
)
def test_exit_status(outcome, on_drift, status):
    """Drift is told only where it was asked for; what is worse goes first."""
    assert exit_status(outcome, on_drift=on_drift) == status


@pytest.mark.parametrize(
    ("error", "status"),
    [(Misconfigured("a", "b"), 2), (Unavailable("minio", "no answer"), 6), (Busy("locked"), 5)],
)
def test_expected_ends_become_failures(error, status):
    """An expected end has its status and its words; anything else is a defect and passes through."""

    def ask(_: Call) -> Answer:
        raise error

    failure = running.attempt(ask, Call(parse(["version"]), {}))
    assert isinstance(failure, Failure)
    assert failure.status == status
    assert all(failure.faults)


def test_configuration_is_found_in_order(tmp_path, monkeypatch):
    """--config goes before RECONCILER_CONFIG, which goes before ./reconciler.toml; none is no fault."""
    monkeypatch.chdir(tmp_path)
    assert Call(parse(["status"]), {}).document() == {}
    for name in ("reconciler.toml", "b.toml", "c.toml"):
        (tmp_path / name).write_text(f'[stream]\ntopic = "{name}"\n')
    assert Call(parse(["status"]), {}).settings().stream.topic == "reconciler.toml"
    environ = {"RECONCILER_CONFIG": "b.toml"}
    assert Call(parse(["status"]), environ).settings().stream.topic == "b.toml"
    assert Call(parse(["status", "--config", "c.toml"]), environ).settings().stream.topic == "c.toml"


@pytest.mark.parametrize("content", [None, b"\xff", b"[stream\n"])
def test_an_unusable_configuration_is_named(tmp_path, content):
    """A file that is not there, not text or not TOML is a fault that names the file and the way out."""
    path = tmp_path / "x.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Misconfigured, match=f"{re.escape(str(path))}: .*; .*name another with --config"):
        Call(parse(["status", "--config", str(path)]), {}).document()


def test_output_file_is_replaced_as_a_whole(tmp_path):
    """A result goes to its file and leaves nothing beside it; a directory that is not there is a fault."""
    output.deliver(Answer(EMPTY), Format.JSON, str(tmp_path / "out.json"))
    assert (tmp_path / "out.json").read_text() == "[]\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    with pytest.raises(Misconfigured, match="--output-file"):
        output.deliver(Answer(EMPTY), Format.JSON, str(tmp_path / "none" / "out.json"))


@pytest.mark.parametrize("option", ["--output-file", "--metrics-file"])
def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path, option):
    """A directory that is not there, or the name of one: nothing is asked of a server, and nothing stays behind."""
    (tmp_path / "a directory").mkdir()
    for file in (tmp_path / "none" / "out.json", tmp_path / "a directory"):
        ended = run("sweep", option, str(file))
        assert ended.returncode == Exit.USAGE
        assert f"{option} {file}: cannot be written" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a directory"]


@pytest.mark.parametrize("form", Format)
def test_any_key_leaves_by_any_locale(form):
    """What a machine reads is UTF-8, and a terminal without a letter has it spelled out."""
    probe = (
        "from consumer.commands import output; from consumer.commands.answer import Answer\n"
        "from reconcile.reports.forms import Format, Section\n"
        f"output.deliver(Answer(Section('s', 'S', {{'key': '\\u00e9\\U0001f9ff'}})), Format('{form}'), None)"
    )
    environ = {"PYTHONIOENCODING": "ascii"}
    ended = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False, env=environ)
    assert ended.returncode == 0, ended.stderr
    expected = b"\\xe9\\U0001f9ff" if form is Format.TABLE else "\u00e9\U0001f9ff".encode()
    assert expected in ended.stdout


def test_log_lines_are_json_without_secrets():
    """A line of the log is one JSON object, and no password gets into it, neither by name nor within a value."""
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    structlog.get_logger("x").info("a.b", url="postgresql://me:s3cret@host/db", secret_key="s3cret", key="k\n")
    structlog.get_logger("x").info("a.c", why="host=db password=s3cret: refused")
    structlog.get_logger("x").debug("quiet")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["event"] == "a.b"
    assert first["url"] == "postgresql://me:***@host/db"
    assert second["why"] == "host=db password=*** refused"
    assert "s3cret" not in stream.getvalue()


def test_log_lines_for_a_person_obey_nobody():
    """What stands in a key cannot colour the terminal or forge a line of the log."""
    stream = io.StringIO()
    logs.configure("info", "console", stream)
    structlog.get_logger("x").info("a.b", key="a\x1b[2J\nforged")
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process without a configuration."""
    command = [sys.executable, "-c", "import sys; from consumer.cli import main; sys.exit(main())", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ or None)


def test_help_imports_nothing_that_is_slow():
    """--help stays quick: no driver, no log, no settings are imported for it."""
    probe = (
        "import sys; from consumer.cli import parse\n"
        "try: parse(['--help'])\n"
        "except SystemExit: sys.stderr.write(' '.join({name.partition('.')[0] for name in sys.modules}))"
    )
    ended = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "COMMAND" in ended.stdout
    assert not set(ended.stderr.split()) & {"psycopg", "minio", "confluent_kafka", "structlog", "msgspec", "rich"}


def test_completion_knows_every_command():
    """The completion script of each shell names the commands and completes files."""
    for shell in ("bash", "zsh", "tcsh"):
        script = about.completion(Call(parse(["completion", shell]), {})).shown
        assert all(word in script for word in ("findings", "brake", "release", "--group-by"))


def test_missing_values_are_all_named_at_once(tmp_path, monkeypatch):
    """Every fault comes on a line of its own, with the key's name, and nothing reaches stdout."""
    monkeypatch.chdir(tmp_path)
    ended = run("config", "check")
    assert ended.returncode == Exit.USAGE
    assert ended.stdout == ""
    assert {"database.url", "minio.endpoint", "mapping.version.table"} <= set(
        re.findall(r"[a-z_.]+\.[a-z_]+", ended.stderr)
    )


def test_a_section_survives_every_form():
    """Every form renders a section with facts, a table and notes."""
    answer = Answer(Section("s", "S", {"a": 1}, (EMPTY,), ("n",)))
    for form in Format:
        assert output.rendered(answer, form)


def test_what_is_counted_below_many_places_comes_to_all_of_them():
    """The largest are named, and what is not named is counted together."""
    told = Told()
    for place in range(30):
        for number in range(1 + (place < 5)):
            told.add(Outcome(Named(number, ObjectRef("b", f"{place}/{number}")), done=True, told="ignored"))
    counts, acts = told.answer("ignore", apply=True, failure=None).shown.parts
    assert counts.rows[-1] == ("(all others)", "10 more", 10)
    assert sum(count for *_, count in counts.rows) == 35
    assert acts.notes == ("the first 20 of each; all are counted above",)
