"""The schedules in deploy/: each runs a command that exists, that only reports, and for which drift is no failure."""

import json
import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest

from consumer.cli import parse

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DEPLOY = Path(__file__).parents[2] / "deploy"
CRON = (DEPLOY / "cron/storage-reconciler").read_text("utf-8")
SERVICE = (DEPLOY / "systemd/storage-reconciler-sweep.service").read_text("utf-8")
TIMER = (DEPLOY / "systemd/storage-reconciler-sweep.timer").read_text("utf-8")
CRONJOB = (DEPLOY / "kubernetes/sweep-cronjob.yaml").read_text("utf-8")
SCHEDULE = re.compile(r"^0 2 \* \* \* storage-reconciler (.*)$", re.MULTILINE)
EXEC = re.compile(r"^ExecStart=/usr/local/bin/(.*)$", re.MULTILINE)
ARGS = re.compile(r"^ *command: (\[.*\])\n(?: *#.*\n)* *args: (\[.*\])$", re.MULTILINE)


def in_cron():
    """Return the words of the crontab's only line; a bare % would be a line end to cron."""
    [line] = SCHEDULE.findall(CRON)
    assert "%" not in line
    return shlex.split(line)


def in_systemd():
    """Return the unit's words, as systemd fills them in."""
    [line] = EXEC.findall(SERVICE)
    return shlex.split(line.replace("${SWEEP_BUCKET}", "staging-storage"))


def in_kubernetes():
    """Return the container's words; they are written as JSON, which YAML allows."""
    [(command, args)] = ARGS.findall(CRONJOB)
    return [*json.loads(command), *json.loads(args)]


@pytest.mark.parametrize("words", [in_cron, in_systemd, in_kubernetes])
def test_each_schedule_reports_on_one_bucket(words):
    """The words are those of the command line; nothing is changed, and the status does not tell of drift."""
    program, *options = words()
    assert (program, options[0]) == ("storage-reconciler", "sweep")
    read = parse(options)
    assert read.bucket in ("staging-storage", ["staging-storage"])
    assert not read.apply
    assert not read.exit_code


def test_every_schedule_is_at_two():
    """Each in its own words; a missed night is made up for where that can be said."""
    assert SCHEDULE.search(CRON)
    assert "OnCalendar=*-*-* 02:00:00\nPersistent=true" in TIMER
    assert 'schedule: "0 2 * * *"\n  timeZone: Etc/UTC\n' in CRONJOB


def test_neither_drift_nor_another_run_is_tried_again():
    """Status 3 and 7: a success to systemd; to Kubernetes no reason for another try."""
    assert "\nSuccessExitStatus=3 7\n" in SERVICE
    assert "action: FailJob\n" in CRONJOB
    assert "operator: In, values: [1, 2, 3, 4, 7]" in CRONJOB
    assert "concurrencyPolicy: Forbid" in CRONJOB


def scrubs():
    """Yield the words of each schedule of the scrub."""
    [line] = re.findall(
        r"^0 3 \* \* \* storage-reconciler (.*)$",
        (DEPLOY / "cron/storage-reconciler-scrub").read_text("utf-8"),
        re.MULTILINE,
    )
    yield shlex.split(line)
    [line] = EXEC.findall((DEPLOY / "systemd/storage-reconciler-scrub.service").read_text("utf-8"))
    yield shlex.split(line.replace("${SCRUB_BUCKET}", "staging-storage"))
    [(command, args)] = ARGS.findall((DEPLOY / "kubernetes/scrub-cronjob.yaml").read_text("utf-8"))
    yield [*json.loads(command), *json.loads(args)]


@pytest.mark.parametrize("words", list(scrubs()), ids=["cron", "systemd", "kubernetes"])
def test_each_schedule_of_the_scrub_is_bounded_and_reports(words):
    """Two hours at a rate, of one bucket; nothing is changed, and no word of the sweep is left."""
    read = parse(words[1:])
    assert (words[:2], read.bucket) == (["storage-reconciler", "scrub"], "staging-storage")
    assert (read.lasting, read.rate, read.apply or read.fix or read.exit_code) == (2 * HOUR, 20 * 2**20, False)
    for file in ("systemd/storage-reconciler-scrub.timer", "kubernetes/scrub-cronjob.yaml"):
        assert "sweep" not in (DEPLOY / file).read_text("utf-8").lower()


def purges():
    """Yield the words of each schedule of the purge."""
    [line] = re.findall(
        r"^0 4 \* \* \* storage-reconciler (.*)$",
        (DEPLOY / "cron/storage-reconciler-purge").read_text("utf-8"),
        re.MULTILINE,
    )
    yield shlex.split(line)
    [line] = EXEC.findall((DEPLOY / "systemd/storage-reconciler-purge.service").read_text("utf-8"))
    yield shlex.split(line)
    [(command, args)] = ARGS.findall((DEPLOY / "kubernetes/purge-cronjob.yaml").read_text("utf-8"))
    yield [*json.loads(command), *json.loads(args)]


@pytest.mark.parametrize("words", list(purges()), ids=["cron", "systemd", "kubernetes"])
def test_each_schedule_of_the_purge_prints_its_plan(words):
    """A month, and never a file's only version; nothing is purged until a person adds --apply."""
    read = parse(words[1:])
    assert (words[:2], read.flagged_for) == (["storage-reconciler", "purge"], 30 * DAY)
    assert (read.apply, read.even_alone) == (False, False)


def test_the_purge_is_at_four_and_what_waits_for_a_person_is_not_tried_again():
    """After the sweep and the scrub; a mass that is held, or a row that is refused, fails loudly."""
    assert "OnCalendar=*-*-* 04:00:00" in (DEPLOY / "systemd/storage-reconciler-purge.timer").read_text("utf-8")
    cronjob = (DEPLOY / "kubernetes/purge-cronjob.yaml").read_text("utf-8")
    assert 'schedule: "0 4 * * *"\n  timeZone: Etc/UTC\n' in cronjob
    assert "{containerName: purge, operator: In, values: [1, 2, 4, 5]}" in cronjob
    unit = (DEPLOY / "systemd/storage-reconciler-purge.service").read_text("utf-8")
    assert "SuccessExitStatus" not in unit
    for text in (unit, cronjob, (DEPLOY / "systemd/storage-reconciler-purge.timer").read_text("utf-8")):
        assert not re.search("sweep|scrub|spool", text, re.IGNORECASE)


def reports():
    """Yield the words of each schedule of the report."""
    [line] = re.findall(
        r"^0 7 \* \* \* storage-reconciler (.*)$",
        (DEPLOY / "cron/storage-reconciler-report").read_text("utf-8"),
        re.MULTILINE,
    )
    yield shlex.split(line)
    [line] = EXEC.findall((DEPLOY / "systemd/storage-reconciler-report.service").read_text("utf-8"))
    yield shlex.split(line)
    [(command, args)] = ARGS.findall((DEPLOY / "kubernetes/report-cronjob.yaml").read_text("utf-8"))
    yield [*json.loads(command), *json.loads(args)]


@pytest.mark.parametrize("words", list(reports()), ids=["cron", "systemd", "kubernetes"])
def test_each_schedule_of_the_report_is_of_a_day(words):
    """As often as it runs; open drift fails no job."""
    read = parse(words[1:])
    assert (words[:2], read.since, read.until) == (["storage-reconciler", "report"], DAY, None)
    assert not read.exit_code


def test_the_report_is_at_seven_and_has_no_secret_but_the_databases():
    """After the night's sweep, scrub and purge; a broker that is away is tried again."""
    cronjob = (DEPLOY / "kubernetes/report-cronjob.yaml").read_text("utf-8")
    timer = (DEPLOY / "systemd/storage-reconciler-report.timer").read_text("utf-8")
    assert "OnCalendar=*-*-* 07:00:00" in timer
    assert 'schedule: "0 7 * * *"\n  timeZone: Etc/UTC\n' in cronjob
    assert "{containerName: report, operator: In, values: [1, 2, 3]}" in cronjob
    unit = (DEPLOY / "systemd/storage-reconciler-report.service").read_text("utf-8")
    for text in (unit, cronjob, timer, (DEPLOY / "cron/storage-reconciler-report").read_text("utf-8")):
        assert not re.search("purge|scrub|spool|minio", text, re.IGNORECASE)
