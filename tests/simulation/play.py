"""Plays a story: whoever is at work is interrupted at each step by what happens next, on one thread and one stack.

The consumers, the lane, the sweep and what people do are the real ones; the servers are in memory.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from consumer.stream.events import DIALECTS
from consumer.stream.express import Lane
from consumer.stream.hold import Hold, Patience
from consumer.stream.loop import Consumer, Stream
from reconcile.model import Brake, Hint, Kind, ObjectRef, Policy, Unavailable
from tests.simulation.broker import PARTITIONS, Broker, MemoryTopic
from tests.simulation.files import Files
from tests.simulation.memory import PROBE_MOST
from tests.simulation.people import act, end_rules, rules_over
from tests.simulation.rows import Rows
from tests.simulation.servers import Servers
from tests.simulation.stepped import BUCKET, Faults, SteppedWorld
from tests.simulation.story import Action, Story
from tests.simulation.sweeping import swept
from tests.simulation.trouble import Trouble
from tests.simulation.violated import Violated
from tests.simulation.watch import Watch

MISSING_GRACE, ORPHAN_GRACE, LOOK_MOST = (timedelta(seconds=s) for s in (30, 120, 300))
BRAKES: dict[str, tuple[Brake, dict[str, int]]] = {  # and the live rows that there are said to be
    "": (Brake(), {}),
    "few": (Brake(floor=1), {}),
    "a share": (Brake(floor=1), {BUCKET: 250}),
    "half a bucket": (Brake(bucket_floor=1), {BUCKET: 3}),
}
DEPTH = 3  # so many processes are at work at once, each in the midst of a step


class Killed(Exception):
    """The process is gone, in the midst of what it did."""


@dataclass
class Play:
    """A story that is played; `counts` are what it exercised."""

    story: Story
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        setting = self.story.setting
        self.servers, self.broker, self.faults = Servers(), Broker(), Faults()
        self.servers.storage.buckets[BUCKET] = {}
        if setting.versions != "no":
            self.servers.storage.versioned.add(BUCKET)
        self.watch = Watch(self.servers, self.broker, self.counts, lambda: self.seconds)
        self.policy = Policy(
            setting.flagging,
            missing_grace=MISSING_GRACE,
            orphan_grace=ORPHAN_GRACE,
            look_again_most=LOOK_MOST,
        )
        self.brake, live = BRAKES[setting.brake]
        self.servers.tables.live |= live
        self.files = Files(self.servers, self.broker, self.watch, self.counts, setting.skew_s)
        self.rows = Rows(self.servers, self.files, setting.versions == "rows", setting.etags, self.is_held)
        self.trouble = Trouble(self.servers, self.broker, self.faults, self.counts)
        self.seconds = 1000.0
        self.number = 0
        self.jumped_back = 0.0
        self.todo = list(reversed(self.story.actions))
        self.countdown = 0
        self.running: list[str] = []
        self.is_quiet = False
        self.consumers = [self.consumer(number) for number in range(2)]
        self.broker.give(PARTITIONS[0], self.consumers[0].topic.member)
        self.broker.give(PARTITIONS[1], self.consumers[1].topic.member)

    def play(self) -> None:
        """Play it to its end, and judge what it came to; raises Violated. Whoever waits does so as the seed says."""
        random.seed(self.story.seed)
        while self.todo:
            self.next()
        self.quiet()
        self.settle()
        self.watch.judge("before the sweep", self.story.setting.flagging, told_only=True)
        self.sweep(fix=True)
        self.settle()
        self.watch.judge("after the sweep", self.story.setting.flagging, told_only=False)

    def between(self) -> None:
        """Let others act, in the midst of what a process does."""
        while self.todo and not self.is_quiet and len(self.running) < DEPTH:
            if self.countdown > 0:
                self.countdown -= 1
                return
            self.next()

    def next(self) -> None:
        """Do the next thing."""
        action: Action = self.todo.pop()
        self.countdown = self.todo[-1].delay if self.todo else 0
        who = next(one for one in (self.files, self.rows, self.trouble, self) if hasattr(one, action.verb))
        getattr(who, action.verb)(*action.args)

    def process(self, name: str, work: Callable[[], object]) -> None:
        """Let a process work until it is done, killed, or without a server; one that is at work already does not."""
        if name in self.running:
            return
        self.running.append(name)
        try:
            work()
        except (Killed, Unavailable) as error:
            if name.startswith("consumer"):
                if isinstance(error, Unavailable):
                    raise Violated(f"an outage ended {name}: {error}") from error
                self.replace(int(name[-1]))
        finally:
            self.running.remove(name)

    def is_held(self, ref: ObjectRef) -> bool:
        """Tell whether the event of a reference waits for its row, where it will be committed."""
        told = self.watch.told.get(ref)
        if told is None or told[1] < self.broker.committed.get(told[0], 0):
            return False
        owner = next(one for one in self.consumers if one.topic.member == self.broker.owners[told[0]])
        queues = owner.hold._queues  # noqa: SLF001 - seen from outside
        held = [hint for queue in queues for _, one in queue for hint in ([one] if isinstance(one, Hint) else one)]
        return any(hint.ref == ref for hint in held)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
        self.servers.now += timedelta(seconds=seconds)

    def jump(self, seconds: float) -> None:
        """Let the database's clock jump, and MinIO's with it."""
        self.counts["fault: a clock jumps"] += 1
        self.jumped_back += max(-seconds, 0.0)
        self.servers.now += timedelta(seconds=seconds)

    def world(self, actor: str, policy: Policy | None = None) -> SteppedWorld:
        """Start a process's world."""
        return SteppedWorld(
            self.servers,
            policy or self.policy,
            self.brake,
            actor,
            between=self.between,
            faults=self.faults,
            looks=self.watch.looks,
            asked=self.watch.asked,
            wrote=self.watch.wrote,
            seconds=lambda: self.seconds,
        )

    def consumer(self, number: int) -> Consumer:
        """Start a consumer."""
        self.number += 1
        topic = MemoryTopic(self.broker, f"{number}.{self.number}", self.between, self.watch.committing)
        stream = Stream(DIALECTS["minio"], lambda *_: True, self.story.setting.versions == "rows", batch=4)
        return Consumer(
            topic,
            self.world(f"consumer {number}"),
            Hold(Patience(whole_least=1) if self.story.setting.whole else None),
            stream,
            now=lambda: self.seconds,
            server_ahead=lambda: self.files.minio_now().timestamp() - self.seconds,
        )

    def replace(self, number: int) -> None:
        """Start another consumer where one is gone."""
        gone, self.consumers[number] = self.consumers[number], self.consumer(number)
        for place in PARTITIONS:
            if self.broker.owners[place] == gone.topic.member:
                self.broker.give(place, self.consumers[number].topic.member)

    def turn(self, number: int) -> None:
        """Let a consumer take a turn."""
        self.end_restraints()
        calls = iter((False,))
        consumer = self.consumers[number]
        self.process(f"consumer {number}", lambda: consumer.run(lambda: next(calls, True), lambda _: None))

    def kill(self, number: int) -> None:
        """Kill whoever is at work; a consumer, if nobody is."""
        self.counts["fault: killed at work" if self.running else "fault: killed"] += 1
        if self.running:
            raise Killed
        self.replace(number)

    def give(self, partition: int, number: int) -> None:
        """Rebalance."""
        self.counts["fault: a rebalance"] += 1
        self.broker.give(PARTITIONS[partition], self.consumers[number].topic.member)

    def lane(self) -> None:
        """Let the express lane hear what it has not heard yet."""
        lines, self.files.removals = self.files.removals, []
        lane = Lane(
            self.world("lane"),
            None,
            BUCKET,
            lambda *_: True,
            lambda _: True,
            versioned=self.story.setting.versions == "rows",
        )
        plain = [line.replace(b"%2F", b"/") for line in lines]
        self.process("lane", lambda: [lane.look(lane.hints(line)) for line in plain])

    def sweep(self, fix: bool) -> None:  # noqa: FBT001
        """Compare both sides as they are listed, and let the reconciler look at what differs."""
        self.process("sweep", lambda: swept(self, fix=fix))

    def pass_time(self, seconds: float) -> None:
        """Wait as a process does: a little longer, so that few waits are enough."""
        self.wait(20 * seconds)
        self.between()

    def person(self, what: str, number: int) -> None:
        """Let a person act; whoever deletes is another than who withdraws meanwhile."""
        self.process("deleter" if what == "delete" else "person", lambda: act(self, what, number))

    def quiet(self) -> None:
        """End all trouble, and let come whatever still comes."""
        self.is_quiet = True
        self.trouble.end()
        self.servers.lift()
        while self.files.late:
            self.files.deliver(0)
        for _ in range(60):
            self.turn(0)
            self.turn(1)
            self.wait(0.5)
            if not self.broker.lag() and not any(len(one.hold) for one in self.consumers):
                return
        raise Violated(f"it does not come to rest: {self.broker.lag()} records are left, {self.broker}")

    def settle(self) -> None:
        """Let time pass until every look was done, and every grace is over; a person releases what is held."""
        self.wait(self.jumped_back)
        for seconds in (PROBE_MOST, ORPHAN_GRACE, LOOK_MOST, LOOK_MOST):
            self.wait(seconds.total_seconds() + 1)
            self.look_at_all()
        if any(one.effect == "brake" and one.lifted_at is None for one in self.servers.tables.restraints):
            self.release()
            self.look_at_all()
            self.settle()

    def restrain(self, effect: str, pattern: str | None, kind: str | None, seconds: float) -> None:
        """Set a window or a rule, as a person does; a window only where nobody has the lock that it waits for."""
        if not self.servers.down and not (effect == "suppress" and self.servers.braking):
            self.servers.restrain(effect, BUCKET, pattern, Kind(kind) if kind else None, timedelta(seconds=seconds))

    def lift(self) -> None:
        """End windows and rules before their time."""
        if not self.servers.down:
            self.servers.lift()

    def end_restraints(self) -> None:
        """Do what the duties do once windows or rules are over."""
        if self.servers.tables.restraints and not self.servers.down:
            self.servers.end_windows()
            if rules_over(self.servers):
                self.process("duty", lambda: end_rules(self.servers, lambda: self.world("rule")))

    def release(self) -> None:
        """Lift the brakes, as a person does, who waits for whoever has their lock."""
        if self.servers.braking:
            return
        self.servers.release()
        self.watch.changed(one.finding.ref for one in self.servers.tables.findings.values())

    def look_at_all(self) -> None:
        """Do the looks that are due, until none is."""
        for _ in range(40):
            self.seconds += 0.1
            if not any(one.due_at <= self.servers.now for one in self.servers.tables.looks.values()):
                return
            self.turn(0)
        raise Violated(f"looks without an end: {self.servers.tables.looks}")
