"""Buckets of a run, and the rule that has their events sent to the stack's topic."""

import secrets

import minio
from minio.notificationconfig import NotificationConfig, QueueConfig

from deploy.local.minio import Minio

EVENTS = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]


def client(server: Minio) -> minio.Minio:
    """Return minio-py's client, as root."""
    return minio.Minio(
        endpoint=server.endpoint,
        access_key=server.user,
        secret_key=server.password,
        region=server.region,
        secure=server.secure,
    )


def new_bucket(server: Minio, events: list[str] | None = None) -> str:
    """Make a bucket whose events go to the stack's topic, and return its name."""
    name = f"test-{secrets.token_hex(6)}"
    storage = client(server)
    storage.make_bucket(bucket_name=name)
    rule = QueueConfig(queue=server.arn, events=EVENTS if events is None else events)
    storage.set_bucket_notification(bucket_name=name, config=NotificationConfig(queue_config_list=[rule]))
    return name
