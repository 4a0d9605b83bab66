"""The manifests in deploy/kubernetes: of the schema, of the restricted profile, and of one piece."""

import os
import shlex
import subprocess
from contextlib import contextmanager

import kubernetes_validate
import pytest
import yaml

from consumer.cli import parse
from deploy.local import images
from reconcile.sweeps.keeping import LEASE_S
from tests.support.command import ROOT
from tests.support.waiting import until

HERE = ROOT / "deploy" / "kubernetes"
FILES = sorted(path for path in HERE.glob("*.yaml") if path.name != "kustomization.yaml")
KUSTOMIZATION = yaml.safe_load((HERE / "kustomization.yaml").read_text("utf-8"))
BY_HAND = {"sweep-joined-job.yaml"}
VERSION = "1.33"
SECRETS = "/run/secrets/storage-reconciler"
DOCUMENTS = [
    pytest.param(document, id=f"{path.stem}-{document['kind']}")
    for path in FILES
    for document in yaml.safe_load_all(path.read_text("utf-8"))
]
BY_KIND = {parameter.values[0]["kind"]: parameter.values[0] for parameter in DOCUMENTS}


def template(document):
    """Return the Pod that a manifest makes, None if it makes none."""
    spec = document.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    return spec.get("template")


RUNNING = [parameter for parameter in DOCUMENTS if template(parameter.values[0])]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_it_is_of_the_schema(document):
    """No field is misspelt, misplaced or of another type: Kubernetes' own schema, and nothing beyond it."""
    kubernetes_validate.validate(document, VERSION, strict=True)


def test_a_misspelt_field_would_be_noticed():
    """The schema does look."""
    wrong = yaml.safe_load((HERE / "consumer.yaml").read_text("utf-8"))
    wrong["spec"]["template"]["spec"]["automountServiceAcountToken"] = False
    with pytest.raises(kubernetes_validate.ValidationError, match="automountServiceAcountToken"):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@pytest.mark.parametrize("document", RUNNING)
def test_each_pod_is_of_the_restricted_profile(document):
    """No root, no privilege, no capability, a root that cannot be written, no token, a limit, our image."""
    pod = template(document)
    spec = pod["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("storage-reconciler", False)
    assert spec["enableServiceLinks"] is False
    security = spec["securityContext"]
    assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 65532)
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == "storage-reconciler"
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert all(set(volume) & {"configMap", "emptyDir", "secret"} for volume in spec["volumes"])
    for container in spec["containers"]:
        assert container["image"] == images.OURS
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("document", RUNNING)
def test_each_pod_has_its_secrets_as_files_in_one_place(document):
    """The whole secret: what one configuration names for all of them - Kafka's password, a CA - is in each."""
    spec = template(document)["spec"]
    [secrets] = [volume for volume in spec["volumes"] if "secret" in volume]
    assert secrets["secret"] == {"secretName": "storage-reconciler", "defaultMode": 0o440}
    [container] = spec["containers"]
    assert {"name": secrets["name"], "mountPath": SECRETS, "readOnly": True} in container["volumeMounts"]
    environ = {one["name"]: one.get("value", "") for one in container["env"]}
    named = {name.removesuffix("_FILE"): value for name, value in environ.items() if name.endswith("_FILE")}
    assert {value.rpartition("/")[0] for value in named.values()} == {SECRETS}
    assert "RECONCILER_DATABASE__URL" in named
    assert not named.keys() & environ.keys()


def test_kustomize_names_every_file_that_is_not_by_hand():
    """Nothing lies beside the kustomization that it does not apply, and its image is ours."""
    assert set(KUSTOMIZATION["resources"]) | BY_HAND == {path.name for path in FILES}
    [image] = KUSTOMIZATION["images"]
    assert f"{image['name']}:{image['newTag']}" == images.OURS


def test_the_consumer_is_never_away_and_never_alone():
    """Two, replaced one by one, each with its probes; one always stays, and more come while the group is behind."""
    consumer, budget, scaler = (
        BY_KIND[kind] for kind in ("Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler")
    )
    labels = consumer["spec"]["template"]["metadata"]["labels"]
    assert "replicas" not in consumer["spec"]  # an apply would undo what the autoscaler chose
    assert scaler["spec"]["minReplicas"] == 2
    assert consumer["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert consumer["spec"]["selector"]["matchLabels"] == budget["spec"]["selector"]["matchLabels"] == labels
    assert budget["spec"]["minAvailable"] == 1
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"  # in an outage a node can be drained
    assert scaler["spec"]["scaleTargetRef"]["name"] == consumer["metadata"]["name"]
    assert scaler["spec"]["metrics"][0]["external"]["metric"]["name"] == "reconciler_lag_records"
    assert scaler["spec"]["maxReplicas"] == parse(["init"]).partitions
    [container] = consumer["spec"]["template"]["spec"]["containers"]
    probes = {name: container[name]["httpGet"]["path"] for name in ("livenessProbe", "readinessProbe", "startupProbe")}
    assert probes == {"livenessProbe": "/livez", "readinessProbe": "/readyz", "startupProbe": "/livez"}
    assert parse(container["args"]).run == "consume:consume"
    environ = {one["name"]: one.get("value") for one in container["env"]}
    assert (environ["RECONCILER_WEB__BIND"], environ["RECONCILER_WEB__STATUS"]) == ("0.0.0.0", "false")  # noqa: S104


def test_the_autoscaler_asks_for_what_the_adapter_serves():
    """By one name from the rule that is recorded to the metric that is asked for."""
    values = yaml.safe_load((HERE / "adapter" / "prometheus-adapter.yaml").read_text("utf-8"))
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text("utf-8"))["groups"]
    [served] = values["rules"]["external"]
    [metric] = [one["external"]["metric"] for one in BY_KIND["HorizontalPodAutoscaler"]["spec"]["metrics"]]
    assert served["name"]["as"] == metric["name"]
    assert served["metricsQuery"] == f"{served['seriesQuery']}{{<<.LabelMatchers>>}}"  # an installation by its job
    assert served["seriesQuery"] in {rule.get("record") for one in groups for rule in one["rules"]}


def test_no_pod_of_ours_is_reached_but_by_whoever_scrapes():
    """One policy for all opens the port of the metrics alone, and lets them out to three servers and DNS."""
    policy = BY_KIND["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "storage-reconciler"}
    assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == [9464]
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 5432, 9000, 9092, 9093}
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}


def test_the_joined_sweep_is_led_by_the_first_and_succeeds_with_it():
    """Index 0 goes on with what it began, cut into ranges; the others ask until there is something to join."""
    job = BY_KIND["Job"]["spec"]
    assert (job["completionMode"], job["completions"]) == ("Indexed", job["parallelism"])
    assert job["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    [container] = job["template"]["spec"]["containers"]
    lines = [
        line.split("storage-reconciler ", 1)[1] for line in container["args"][0].splitlines() if "--bucket" in line
    ]
    leader, helper = (parse(shlex.split(line.split(" &")[0])) for line in lines)
    assert (leader.resume, leader.apply, helper.apply) == (True, False, False)
    assert leader.wait.total_seconds() > LEASE_S, "a leader that was killed has the bucket as long as its lease"
    assert leader.ranges > job["completions"]
    assert (leader.bucket, helper.join) == (helper.bucket, -1)


@contextmanager
def helping(tmp_path, **programs):
    """Run what a helper's container runs, beside programs of these names."""
    for name, script in programs.items():
        path = tmp_path / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    [container] = BY_KIND["Job"]["spec"]["template"]["spec"]["containers"]
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "JOB_COMPLETION_INDEX": "1"}
    with subprocess.Popen([*container["command"], *container["args"]], env=environ, cwd=tmp_path) as helper:
        yield helper
        helper.kill()


def test_a_helper_of_the_joined_sweep_ends_where_there_is_nothing_to_join_any_more(tmp_path):
    """Its leader has failed for good: the helper succeeds at nothing instead of asking for twelve hours."""
    with helping(tmp_path, storage_reconciler="echo >> asked; exit 2", sleep="exit 0") as helper:
        assert helper.wait(60) == 0
    assert (tmp_path / "asked").read_text().count("\n") == 180


def test_a_helper_of_the_joined_sweep_has_helped_once_it_has_joined(tmp_path):
    """It asks until the leader has begun, and no more after that."""
    program = "echo >> asked; [ $(wc -l < asked) = 3 ] || exit 2"
    with helping(tmp_path, storage_reconciler=program, sleep="exit 0") as helper:
        assert helper.wait(60) == 0
    assert (tmp_path / "asked").read_text().count("\n") == 3


def test_a_helper_of_the_joined_sweep_ends_with_what_it_waits_for(tmp_path):
    """SIGTERM reaches the sweep, which gives its range back, and the shell ends after it."""
    program = "trap 'sleep 0.2; echo > told; exit 1' TERM; echo > there; while :; do sleep 0.05; done"
    with helping(tmp_path, storage_reconciler=program) as helper:
        until((tmp_path / "there").exists, what="the sweep to run")
        helper.terminate()
        assert helper.wait(20) == 143
        assert (tmp_path / "told").exists()
