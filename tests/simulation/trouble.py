"""What goes wrong in a story with servers, and how it ends."""

from collections import Counter
from dataclasses import dataclass

from tests.simulation.broker import Broker
from tests.simulation.servers import Servers
from tests.simulation.stepped import BUCKET, Faults


@dataclass
class Trouble:
    """The servers that fail; `faults` is what they do wrong, beside being away."""

    servers: Servers
    broker: Broker
    faults: Faults
    counts: Counter[str]

    def fault(self, name: str, key: str, on: bool) -> None:  # noqa: FBT001
        """Let a server fail, or be well again."""
        self.counts[f"fault: {name}"] += on
        match name:
            case "minio":
                self.servers.storage.down = on
            case "postgresql":
                self.servers.down = on
            case "table":
                self.servers.table_locked = on
            case "kafka":
                self.broker.down = on
            case "room":
                self.servers.storage.room = 1 if on else None
            case "forbidden":
                (self.servers.storage.forbidden.add if on else self.servers.storage.forbidden.discard)(BUCKET)
            case "outdated" if on:
                self.faults.outdated[key] = list(self.servers.storage.buckets[BUCKET].get(key, []))
            case "outdated":
                self.faults.outdated.pop(key, None)
            case _:
                keys = self.faults.of_keys[name]
                (keys.add if on else keys.discard)(key)

    def unsure(self, how: str) -> None:
        """Let an answer be lost."""
        self.counts[f"fault: {how}"] += 1
        self.faults.failing += how == "rolled back"
        self.faults.unconfirmed += how == "unconfirmed"
        self.broker.unconfirmed += how == "uncommitted"

    def end(self) -> None:
        """Let all be well."""
        self.servers.locked.clear()
        self.servers.refusing.clear()
        for name in ("minio", "postgresql", "table", "kafka", "room", "forbidden"):
            self.fault(name, "", on=False)
        self.faults.of_keys.clear()
        self.faults.outdated.clear()
        self.faults.failing = self.faults.unconfirmed = self.broker.unconfirmed = 0
