"""What MinIO must allow for each act on orphans: what docs/triage.md says suffices, and less is told."""

import secrets
from collections.abc import Callable, Iterator

import pytest
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin

READ = ("s3:GetObject", "s3:ListBucket", "s3:ListBucketMultipartUploads")
PLAN = (*READ, "s3:GetBucketVersioning")
HIDE = (*PLAN, "s3:DeleteObject", "s3:ListBucketVersions", "s3:DeleteObjectVersion")
COPY = (*PLAN, "s3:DeleteObject", "s3:PutObject", "s3:GetObjectTagging", "s3:PutObjectTagging")


@pytest.fixture
def allow(office, minio) -> Iterator[Callable[..., None]]:
    """Return what lets the commands run as a user who may do no more than this in the bucket."""
    provider, name, word = StaticProvider(minio.user, minio.password), f"clerk-{secrets.token_hex(4)}", "clerks-secret"
    admin = MinioAdmin(endpoint=minio.endpoint, credentials=provider, secure=minio.secure)
    admin.user_add(name, word)
    office.program.environ.update(RECONCILER_MINIO__ACCESS_KEY=name, RECONCILER_MINIO__SECRET_KEY=word)
    there = [f"arn:aws:s3:::{office.bucket}", f"arn:aws:s3:::{office.bucket}/*"]
    policies: list[str] = []

    def allowed(*actions: str) -> None:
        """Let the user do this, and nothing else."""
        policies.append(f"{name}-{len(policies)}")
        may = {"Effect": "Allow", "Action": list(actions), "Resource": there}
        admin.policy_add(policies[-1], policy={"Version": "2012-10-17", "Statement": [may]})
        admin.attach_policy([policies[-1]], user=name)
        if len(policies) > 1:
            admin.detach_policy([policies[-2]], user=name)

    yield allowed
    admin.user_remove(name)
    for policy in policies:
        admin.policy_remove(policy)


@pytest.mark.parametrize("versioned", [True, False], ids=["versioned", "unversioned"])
def test_each_act_needs_what_is_documented_and_less_is_told(office, allow, versioned):
    """What may not be removed stays approved, and the answer says what MinIO said."""
    if versioned:
        office.keep_versions()
    allow("s3:*")
    [number] = office.find({"a": b"AAA"})
    allow(*READ)
    assert office.program.json("orphans", "list")[0]["suggested_cause"] == "unknown"
    assert office.program.json("orphans", "show", str(number))["now"]["object"] == "present"
    office.approve(number)
    words = ("orphans", "delete", "--unversioned", office.bucket)
    assert office.program.run(*words).returncode == 2
    allow(*PLAN)
    assert office.program.json(*words)["planned"] == 1
    ended = office.program.run(*words, "--apply", "-o", "json")
    assert (ended.returncode, "AccessDenied" in ended.stdout) == (5, True)
    assert (office.state(number), office.listed()) == ("approved", ["a"])
    allow(*(HIDE if versioned else COPY))
    assert office.program.json(*words, "--apply")["done"] == 1
    assert office.program.json("orphans", "undo", str(number), "--apply")["done"] == 1
    assert office.content("a") == b"AAA"
