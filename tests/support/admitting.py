"""A broker of one's own that wants a password and grants nothing by itself; without a password one may do all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from consumer.roles import Acl
from deploy.local import kafka as kafkas
from deploy.local.cache import claim_port
from deploy.local.kafka import Kafka
from deploy.local.place import Place, Way, place

WORD = "word"
OPERATIONS = {
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
}
KINDS = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP}


@contextmanager
def broker(around: Place, users: Iterable[str]) -> Iterator[tuple[Kafka, str]]:
    """Start the broker; lend it, and the address at which these users log in, all with the same word."""
    if around.way is not Way.NATIVE:
        pytest.skip("only a broker of our own can be told what to ask for")
    usual = kafkas._properties  # noqa: SLF001 - what it is told besides
    known = " ".join(f'user_{user}="{WORD}"' for user in users)
    with place(Way.NATIVE) as here:
        secure = f"127.0.0.1:{claim_port(here.exits)}"

        def asking(*words):
            given = dict(line.split("=", 1) for line in usual(*words).splitlines())
            for name in ("listeners", "advertised.listeners"):
                given[name] += f",SECURE://{secure}"
            login = f"org.apache.kafka.common.security.plain.PlainLoginModule required {known};"
            given |= {
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_PLAINTEXT",
                "inter.broker.listener.name": "PLAINTEXT",
                "listener.name.secure.sasl.enabled.mechanisms": "PLAIN",
                "listener.name.secure.plain.sasl.jaas.config": login,
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
            }
            return "".join(f"{name}={value}\n" for name, value in given.items())

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kafkas, "_properties", asking)
            started = kafkas.find_or_start(here)
        yield started, secure


def login(secure: str, user: str) -> dict[str, str]:
    """Return how a client logs in."""
    mechanism = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
    return {"bootstrap.servers": secure, **mechanism, "sasl.username": user, "sasl.password": WORD}


def allow(to: Kafka, acls: Iterable[Acl]) -> None:
    """Let users do what their lines say."""
    bind(AdminClient({"bootstrap.servers": to.bootstrap, "log_level": 0}), acls)


def bind(admin: AdminClient, acls: Iterable[Acl]) -> None:
    """Do the same by whoever may."""
    for acl in acls:
        for operation in acl.operations:
            bound = AclBinding(
                KINDS[acl.kind],
                acl.name,
                ResourcePatternType.LITERAL,
                f"User:{acl.user}",
                "*",
                OPERATIONS[operation],
                AclPermissionType.ALLOW,
            )
            admin.create_acls([bound])[bound].result()
