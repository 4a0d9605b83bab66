"""`sweep` as several that share their work, or want the same bucket: the leader a process, the other often this one."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support import sweeping
from tests.support.proxy import Pass, Slow, Stall
from tests.support.sweeping import FOUND, TOTALS
from tests.support.sweeps import AT_ONCE, WORDS, kill, number_of, report_of, swept, told, whole
from tests.support.waiting import until

POINTS = ["advanced", "looked"]  # after a checkpoint, and before one


def test_several_processes_come_to_the_same(many, connection):
    """Undisturbed, `--workers 2` reports what one process does."""
    assert whole(swept(many)) == (FOUND, TOTALS)
    assert whole(swept(many, "--workers", "2")) == (FOUND, TOTALS)


def test_a_sweep_that_nobody_runs_cannot_be_joined(many):
    """Without an id either: status 2 says so, and nothing is begun."""
    ended = many.run(*WORDS, "--join", "running", **AT_ONCE)
    assert (ended.returncode, "is running" in ended.stderr) == (2, True)


def test_a_sweep_whose_leader_is_gone_is_not_joined_as_running(many, connection):
    """Nobody would bring it to its end: status 2, and the way out is --resume."""
    sweeping.killed_at(many, "advanced", 1, *WORDS, "--ranges", "4", **AT_ONCE)
    sweeping.expire(connection)
    ended = many.run(*WORDS, "--join", "running", **AT_ONCE)
    assert (ended.returncode, "is running" in ended.stderr) == (2, True)
    assert whole(swept(many, "--resume")) == (FOUND, TOTALS)


@pytest.mark.parametrize("named", ["by its id", "running"])
def test_a_sweep_that_is_joined_by_hand_comes_to_the_same(many, connection, lists, named):
    """Who joins takes ranges that the leader then does not; only the leader reports drifts."""
    lists.set(Slow(0.1))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    with many.running(*WORDS, "--ranges", "8", **AT_ONCE, **slow) as leader:
        number = number_of(connection)
        until(lambda: leader.pid in sweeping.holders(connection), what="the leader at its first range")
        with sweeping.stopped(leader.pid):
            joined = many.run(*WORDS, "--join", str(number) if named == "by its id" else named, **AT_ONCE)
        assert joined.returncode == 0, joined.stderr
        assert told(joined)["state"] == "running"
        owners = connection.execute(
            "SELECT count(DISTINCT owner) FROM reconciler.lease WHERE task = %s", [f"sweep {number}"]
        ).fetchall()
        assert owners == [(2,)]
        assert whole(report_of(leader)) == (FOUND, TOTALS)


@pytest.mark.parametrize("point", POINTS if os.environ.get("RECONCILER_TEST_LONG") else POINTS[:1])
def test_the_range_of_a_worker_that_is_killed_is_taken_over(many, connection, lists, point):
    """One that joined dies with a range in hand, after a checkpoint or before; the leader goes on from there."""
    lists.set(Slow(0.1))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    with many.running(*WORDS, "--ranges", "8", **AT_ONCE, **slow) as leader:
        number = number_of(connection)
        until(lambda: leader.pid in sweeping.holders(connection), what="the leader at its first range")
        with sweeping.stopped(leader.pid):
            sweeping.killed_at(many, point, 2, *WORDS, "--join", str(number), **AT_ONCE)
            [dead] = sweeping.holders(connection) - {leader.pid}
            lists.set(Pass())
        until(lambda: sweeping.holders(connection) == {dead}, 30, "the leader waits for the dead worker")
        sweeping.expire(connection, dead)
        assert whole(report_of(leader)) == (FOUND, TOTALS)


def test_a_worker_of_ones_own_may_be_killed(many, connection, lists):
    """A process that `--workers` started is gone; the sweep comes to the same without it."""
    lists.set(Slow(0.1))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    with many.running(*WORDS, "--workers", "2", "--ranges", "8", **AT_ONCE, **slow) as leader:
        until(lambda: leader.pid in sweeping.holders(connection), what="the leader at its first range")
        with sweeping.stopped(leader.pid):
            [worker] = until(lambda: sweeping.holders(connection) - {leader.pid}, what="a worker at a range")
            os.kill(worker, signal.SIGKILL)
            lists.set(Pass())
        until(lambda: sweeping.holders(connection) == {worker}, 30, "the leader waits for the dead worker")
        sweeping.expire(connection, worker)
        assert whole(report_of(leader)) == (FOUND, TOTALS)


def test_a_joined_process_outlives_its_leader_and_a_resumption_reports(many, connection, lists):
    """The leader is killed with a range in hand; who joined does the others, and --resume the rest."""
    lists.set(Slow(0.1))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    with many.running(*WORDS, "--ranges", "8", **AT_ONCE, **slow) as leader:
        number = number_of(connection)
        until(lambda: leader.pid in sweeping.holders(connection), what="the leader at its first range")
        kill(leader)
    joined = many.run(*WORDS, "--join", str(number), **AT_ONCE)
    assert joined.returncode == 0, joined.stderr
    sweeping.expire(connection)
    report = swept(many, "--resume")
    assert whole(report) == (FOUND, TOTALS)
    assert report["id"] == number


def test_a_sweep_that_is_told_to_end_lets_go_at_once(many, connection, lists):
    """SIGTERM, as a container or a unit is ended: status 130, no lease stays, and --resume need not wait for one."""
    lists.set(Slow(1.0))
    with many.running(
        *WORDS, "--workers", "2", "--ranges", "8", **AT_ONCE, RECONCILER_MINIO__ENDPOINT=lists.url
    ) as sweep:
        until(lambda: len(sweeping.holders(connection)) > 1, what="two at work")
        sweep.terminate()
        assert sweep.wait(20) == 130, many.log()
    assert connection.execute("SELECT task FROM reconciler.lease WHERE until > now()").fetchall() == []
    assert whole(swept(many, "--resume")) == (FOUND, TOTALS)


def test_one_bucket_has_one_sweep_at_a_time(many, connection, lists):
    """Status 7 while another runs or its lease does; once that is over, --resume goes on with it."""
    lists.set(Slow(0.1))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    with many.running(*WORDS, **AT_ONCE, **slow) as leader:
        number = number_of(connection)
        until(lambda: leader.pid in sweeping.holders(connection), what="the leader at its range")
        with sweeping.stopped(leader.pid):
            second = many.run(*WORDS, **AT_ONCE)
            assert second.returncode == 7, second.stderr
            assert "--join" in second.stderr
            assert many.run(*WORDS, "--resume", **AT_ONCE).returncode == 7
        kill(leader)
    assert many.run(*WORDS, "--resume", "--wait", "1s", **AT_ONCE).returncode == 7
    connection.execute("UPDATE reconciler.lease SET until = now() + interval '3 s' WHERE until > now()")
    report = swept(many, "--resume", "--wait", "2m")
    assert whole(report) == (FOUND, TOTALS)
    assert report["id"] == number


def test_a_leader_that_stood_still_is_told_that_its_sweep_went_to_another(many, connection, lists):
    """Its leases ran out and --resume brought the sweep to its end: it ends with status 7 and changes nothing."""
    lists.set(Slow(0.1))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    kept = "SELECT state, totals, finished_at FROM reconciler.sweep"
    with many.running(*WORDS, **AT_ONCE, **slow) as leader:
        number_of(connection)
        until(lambda: leader.pid in sweeping.holders(connection), what="the leader at its range")
        with sweeping.stopped(leader.pid):
            sweeping.expire(connection)
            assert whole(swept(many, "--resume")) == (FOUND, TOTALS)
            ended = connection.execute(kept).fetchall()
            lists.set(Pass())
        leader.communicate(timeout=60)
        assert leader.returncode == 7, many.log()
    assert "ran out" in many.log()
    assert connection.execute(kept).fetchall() == ended


def test_a_leader_whose_lease_ran_out_ends_and_is_resumed(many, connection, lists):
    """Even where nobody took it meanwhile: it stood still for longer than a lease, and ends with status 7."""
    lists.set(Slow(0.1))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url}
    with many.running(*WORDS, **AT_ONCE, **slow) as leader:
        number_of(connection)
        until(lambda: leader.pid in sweeping.holders(connection), what="the leader at its range")
        sweeping.expire(connection)
        leader.communicate(timeout=60)
        assert leader.returncode == 7, many.log()
    assert "--resume" in many.log()
    assert whole(swept(many, "--resume")) == (FOUND, TOTALS)


def test_a_page_that_comes_late_costs_no_lease(many, connection, lists):
    """One page takes longer than a lease: both leases are renewed meanwhile, and another run is told so."""
    lists.set(Slow(0.1))
    slow = {"RECONCILER_MINIO__ENDPOINT": lists.url, "RECONCILER_MINIO__HEAD_TIMEOUT": "60s"}
    leases = "SELECT task, until FROM reconciler.lease WHERE task LIKE 'sweep%' AND until > now()"
    seen: dict[str, set[object]] = {}
    with sweeping.leasing(many, 1.5, *WORDS, **AT_ONCE, **slow) as leader:
        number = number_of(connection)
        until(lambda: leader.pid in sweeping.holders(connection), what="the leader at its range")
        lists.set(Stall())

        def outlived() -> bool:
            for task, end in connection.execute(leases):
                seen.setdefault(task, set()).add(end)
            return min(map(len, seen.values()), default=0) > 4

        until(outlived, 30, "leases that are renewed")
        assert seen.keys() == {f"sweep {number}", f"sweep of {many.bucket}"}
        assert many.run(*WORDS, **AT_ONCE).returncode == 7
        lists.set(Pass())
        assert whole(report_of(leader)) == (FOUND, TOTALS)
