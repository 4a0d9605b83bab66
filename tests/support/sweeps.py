"""What tests ask of a sweep: that it ends, its report, its number."""

from __future__ import annotations

import json
import subprocess

import psycopg

from tests.support import command
from tests.support.sweeping import TOTALS
from tests.support.waiting import until

AT_ONCE = {"RECONCILER_POLICY__ORPHAN_GRACE": "0s", "RECONCILER_POLICY__MISSING_GRACE": "100ms"}
WORDS = ("sweep", "-o", "json")


def told(ended: subprocess.CompletedProcess[str]) -> dict:
    """Return the report of a sweep, whatever it came to."""
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)


def swept(program: command.Program, *words: str, **changed: str) -> dict:
    """Sweep to a complete end, and return the report."""
    ended = program.run(*WORDS, *words, **AT_ONCE | changed)
    assert ended.returncode == 0, (ended.stdout, ended.stderr)
    report = told(ended)
    assert report["state"] == "complete"
    return report


def held(program: command.Program, *words: str, **changed: str) -> dict:
    """Sweep until a guard holds it, loud in status, report, log and metrics, and return the report."""
    figures = program.file.parent / "sweep.prom"
    ended = program.run(*WORDS, *words, "--metrics-file", str(figures), **AT_ONCE | changed)
    assert ended.returncode == 4, ended.stderr
    report = told(ended)
    assert report["state"] == "held"
    assert "sweep.held" in ended.stderr
    assert f'reconciler_sweep_held{{bucket="{program.bucket}"}} 1' in figures.read_text("utf-8").splitlines()
    return report


def found(report: dict) -> set[tuple[str, str]]:
    """Return the drifts of a report, whose tables must come to as many."""
    assert report["total_drifts"] == len(report["drifts"])
    kinds = {one["kind"]: one["found"] for one in report["by_kind"]}
    assert sum(kinds.values()) == report["total_drifts"]
    assert {kind: sum(age[kind] for age in report["by_age"]) for kind in kinds} == kinds
    return {(one["kind"], one["key"]) for one in report["drifts"]}


def whole(report: dict) -> tuple[set[tuple[str, str]], dict[str, int]]:
    """Return what every sweep of the large bucket must come to."""
    return found(report), {name: report["totals"][name] for name in TOTALS}


def report_of(process: subprocess.Popen[str]) -> dict:
    """Wait for a sweep's complete end, and return its report."""
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    return json.loads(out)


def number_of(connection: psycopg.Connection) -> int:
    """Return the id of the sweep that runs, once it may be joined."""
    asked = "SELECT id FROM reconciler.sweep WHERE state = 'running'"
    [(number,)] = until(lambda: connection.execute(asked).fetchall(), what="a sweep that runs")
    return number


def kill(process: subprocess.Popen[str]) -> None:
    """End with SIGKILL what still runs."""
    assert process.poll() is None, process.communicate()
    process.kill()
    process.wait()
