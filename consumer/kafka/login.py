"""As whom we log in to Kafka: a changed user or password is told to clients that are open.

Knows no client but by the one thing that it asks of it.
"""

from __future__ import annotations

from typing import Protocol

from consumer.kafka.settings import Settings

KEYS = ("sasl.username", "sasl.password")


class Client(Protocol):
    """A client of the driver's, which keeps its connections, and takes what it is told for the next of them."""

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Log in as this from now on."""
        ...


class Login:
    """User and password as clients were told last: made just before the clients are, of the same settings."""

    def __init__(self, kafka: Settings) -> None:
        self._kafka = kafka
        self._told = self._now()

    def renew(self, *clients: Client) -> None:
        """Tell the clients what has changed, if anything has."""
        now = self._now()
        if now != self._told and all(now):
            for client in clients:
                client.set_sasl_credentials(*now)
            self._told = now

    def _now(self) -> tuple[str, str]:
        user, word = (str(self._kafka.get(key, "")) for key in KEYS)
        return user, word
