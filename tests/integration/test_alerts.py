"""The rules for Prometheus: well-formed, right in each case, over metrics that there are, each with its runbook."""

import re
import subprocess

from tests.support import promql
from tests.support.command import ROOT

HERE = ROOT / "deploy" / "prometheus"
RULES = (HERE / "rules.yml").read_text("utf-8")
CASES = (HERE / "rules_test.yml").read_text("utf-8")
ALERTS = re.findall(r"alert: (\w+)", RULES)


def test_promtool_finds_the_rules_well_formed_and_right_in_each_case():
    """Each alert is there when it should be, and only then: rules_test.yml holds the cases."""
    program = promql.program("promtool")
    for words in (("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")):
        ended = subprocess.run([program, *words], cwd=HERE, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_is_tried_and_has_its_section_in_the_runbook():
    """None is without a case in which it is there, nor without words for whoever it wakes."""
    runbook = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    sections = re.findall(r"^### (\w+)$", runbook, re.MULTILINE)
    assert ALERTS
    for alert in ALERTS:
        assert f"runbook_url: docs/runbook.md#{alert.lower()}\n" in RULES
        assert re.search(rf"alertname: {alert}\n\s+exp_alerts:\n\s+- exp_labels", CASES), alert
        assert alert in sections


def test_rules_name_only_metrics_and_labels_of_the_catalogue():
    """A name that is exported by nobody would never alert."""
    promql.names_what_is_exported(RULES)
