"""What a broker says of itself, its topics and a group, for `doctor`: asked once, joining and changing nothing.

Beside member.py one of the few modules that import the driver.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from time import monotonic

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from consumer.kafka.clients import ASK_SECONDS, asking, made, open_consumer
from consumer.kafka.faults import NOT_ALLOWED
from consumer.kafka.settings import Settings, for_admin
from reconcile.model import Misconfigured, Unavailable

REACH_SECONDS = 5.0
GROUP_SECONDS = 15.0  # a broker that just started has yet to load its groups
QUIET: Settings = {"log_level": 0}  # the driver's own lines say the same, twenty times a second
TELLING = ("_AUTHENTICATION", "_SSL", "_RESOLVE", "_TRANSPORT")  # the most telling first


class Broker:
    """Asks; Kafka's troubles are raised as Unavailable."""

    def __init__(self, kafka: Settings) -> None:
        self._kafka = kafka
        self._troubles: list[KafkaError] = []
        settings = {**QUIET, **for_admin(kafka), "error_cb": self._troubles.append}
        self._admin: AdminClient = made(AdminClient, settings)

    def topics(self) -> frozenset[str]:
        """Return the topics there are; what keeps us out is raised in the most telling words that the driver has."""
        try:
            return frozenset(self._admin.list_topics(timeout=ASK_SECONDS).topics)
        except KafkaException as fault:
            why = "" if self._is_told() else misfit(self._kafka)
            ends = monotonic() + REACH_SECONDS
            while monotonic() < ends and not why and not self._is_told():
                self._admin.poll(0.1)
            ranked = [one for name in TELLING for one in self._troubles if one.name() == name]
            trouble = ranked[0] if ranked else fault.args[0]
            why = why or (misfit(self._kafka) if trouble.name() == TELLING[1] else "")
            why = why or (wanting(self._kafka) if trouble.name() == TELLING[-1] else "")
            raise Unavailable("kafka", f"{trouble.name()}: {why or trouble.str()}") from fault

    def _is_told(self) -> bool:
        return any(one.name() in TELLING[:2] for one in self._troubles)

    def config(self, topic: str) -> Mapping[str, str]:
        """Return a topic's configuration, with what the broker has by default."""
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        with seeing(topic):
            asked = self._admin.describe_configs([resource], request_timeout=ASK_SECONDS)
            return {name: entry.value for name, entry in asked[resource].result().items() if entry.value is not None}

    def foreign(self, ours: str) -> Sequence[str]:
        """Return the topics beside ours that the group has committed offsets of.

        By an ordinary consumer: the admin's question ends the process where a broker still loads its groups.
        """
        with closing(open_consumer({**QUIET, **self._kafka})) as consumer, seeing():
            known = consumer.list_topics(timeout=ASK_SECONDS).topics.values()
            places = [
                TopicPartition(one.topic, number) for one in known if one.topic != ours for number in one.partitions
            ]
            answers = consumer.committed(places, timeout=GROUP_SECONDS) if places else []
        return sorted({one.topic for one in answers if one.offset >= 0})


@contextmanager
def seeing(topic: str = "") -> Iterator[None]:
    """Say what a question came to; what we may not see is not answered, and says nothing of what is there."""
    try:
        with asking(topic):
            yield
    except Misconfigured as refusal:
        if NOT_ALLOWED not in str(refusal):
            raise
        raise Unavailable("kafka", str(refusal)) from refusal


def misfit(kafka: Settings) -> str:
    """Return what is wrong with the broker's TLS or its certificate, `''` if nothing: the driver does not say which."""
    ours = protocol(kafka)
    try:
        theirs = "TLS" if shakes_hands(kafka) else "plaintext"
        if (theirs == "TLS") != ("SSL" in ours):
            return f'it speaks {theirs}, and kafka."security.protocol" is {ours}'
        if theirs == "TLS":
            shake_hands(kafka, ssl.create_default_context(cafile=str(kafka.get("ssl.ca.location") or "") or None))
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (OSError, ValueError):
        return ""
    return ""


def wanting(kafka: Settings) -> str:
    """Return what a broker may want that lets us connect and says no word, `''` where it is not reached."""
    ours = protocol(kafka)
    wanted = "SASL_SSL" if "SSL" in ours else "SASL_PLAINTEXT"
    try:
        shakes_hands(kafka)
    except (OSError, ValueError):
        return ""
    return "" if ours == wanted else f'it answers nothing to kafka."security.protocol" {ours}, and may want {wanted}'


def protocol(kafka: Settings) -> str:
    """Return how we speak to the broker."""
    return str(kafka.get("security.protocol", "plaintext")).upper()


def shakes_hands(kafka: Settings) -> bool:
    """Tell whether the broker speaks TLS, whoever it is; raises OSError where it is not reached."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE  # nothing follows the greeting
    try:
        shake_hands(kafka, trusting)
    except (ssl.SSLError, ConnectionResetError):
        return False
    return True


def shake_hands(kafka: Settings, context: ssl.SSLContext) -> None:
    """Greet the first broker that is named, as TLS has it."""
    place = str(kafka.get("bootstrap.servers", "")).split(",")[0].rpartition("//")[2]
    host, _, port = place.rpartition(":")
    with socket.create_connection((host, int(port)), ASK_SECONDS) as plain:
        context.wrap_socket(plain, server_hostname=host).close()
