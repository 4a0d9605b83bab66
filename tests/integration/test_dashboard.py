"""The dashboard for Grafana: it asks for what is exported, in expressions that hold, and a real run answers each."""

import json
import subprocess
from contextlib import suppress
from urllib.parse import urlencode

import pytest
import yaml

from deploy.local.cache import claim_port
from deploy.local.control import Launch
from deploy.local.place import Way, place
from tests.support import consuming, promql, scraping
from tests.support.command import ROOT
from tests.support.waiting import until

HERE = ROOT / "deploy" / "grafana"
DASHBOARD = json.loads((HERE / "storage-reconciler.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ASKED = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
RATE = "$__rate_interval"  # Grafana's own: four scrapes at least
JSON = ("consume", "--log-format", "json")


def test_panels_ask_for_what_is_exported_and_say_what_they_show(tmp_path):
    """Names and labels are the catalogue's, expressions are well-formed, none is without a word of explanation."""
    promql.names_what_is_exported("\n".join(expression for _, expression in ASKED))
    rules = [{"record": f"panel:{n}", "expr": asked.replace(RATE, "1m")} for n, (_, asked) in enumerate(ASKED)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")
    program = promql.program("promtool")
    ended = subprocess.run([program, "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert all(panel["description"] for panel in PANELS)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_no_panel_lies_upon_another():
    """Each has its place on the grid of 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_it_is_provisioned_with_its_source():
    """Grafana finds the file where compose puts it, and the source by the name that Prometheus has there."""
    [provider] = yaml.safe_load((HERE / "provisioning/dashboards/storage-reconciler.yml").read_text("utf-8"))[
        "providers"
    ]
    [source] = yaml.safe_load((HERE / "provisioning/datasources/prometheus.yml").read_text("utf-8"))["datasources"]
    compose = yaml.safe_load((ROOT / "docker-compose.kafka.yml").read_text("utf-8"))["services"]
    mounted = "\n".join(compose["grafana"]["volumes"])
    assert f"./deploy/grafana/storage-reconciler.json:{provider['options']['path']}/" in mounted
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose


@pytest.mark.timeout(400)
def test_each_panel_is_answered_by_a_real_run(tmp_path, database, minio, kafka, bucket):
    """A real Prometheus scrapes a real consumer and MinIO; every question has an answer."""
    program = promql.program("prometheus")
    with (
        consuming.site(tmp_path, database, minio, kafka.bootstrap, kafka.topic, bucket) as site,
        place(Way.NATIVE) as here,
    ):
        site.row("healthy")  # what is live is counted at the start, and seldom again
        site.put("healthy")
        assert site.program.run("sweep").returncode == 0
        with site.program.running(*JSON, RECONCILER_FLAGGING="true", RECONCILER_CANARY__INTERVAL="10s"):
            consumer = scraping.page(site.program)
            port = claim_port(here.exits)
            directory = here.directory_of("prometheus")
            (directory / "prometheus.yml").write_text(scraped(consumer.port, minio.endpoint), "utf-8")
            prometheus = scraping.Page(port)
            words = [program, f"--config.file={directory}/prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]
            words += [f"--storage.tsdb.path={directory}/data", "--log.level=warn"]
            here.start(Launch("Prometheus", words, directory, ready=lambda: is_ready(prometheus)))
            site.row("gone")
            site.put("orphan")
            with suppress(AssertionError):  # the next line says which
                until(lambda: work(site) or not unanswered(prometheus), 120)
            assert unanswered(prometheus) == []


def scraped(consumer: int, minio: str) -> str:
    """Return Prometheus' configuration, as in deploy/compose but for addresses and a quicker interval."""
    given = yaml.safe_load((ROOT / "deploy" / "compose" / "prometheus.yml").read_text("utf-8"))
    given["global"] = {"scrape_interval": "1s"}
    given["rule_files"] = [str(ROOT / "deploy" / "prometheus" / "rules.yml")]
    for job, at in zip(given["scrape_configs"], (f"127.0.0.1:{consumer}", minio), strict=True):
        job["static_configs"] = [{"targets": [at]}]
    return yaml.safe_dump(given)


def is_ready(page: scraping.Page) -> bool:
    """Tell whether Prometheus answers."""
    try:
        return page.ask("/-/ready").status == 200
    except OSError:
        return False


def work(site: consuming.Site) -> None:
    """Let something happen, so that every rate has something to tell."""
    site.put("orphan")


def unanswered(page: scraping.Page) -> list[tuple[str, str]]:
    """Return the panels' questions to which there is no answer, or none that is a number."""
    return [(title, asked) for title, asked in ASKED if not answered(page, asked.replace(RATE, "15s"))]


def answered(page: scraping.Page, expression: str) -> bool:
    """Ask Prometheus now."""
    found = json.loads(page.ask(f"/api/v1/query?{urlencode({'query': expression})}").text)["data"]["result"]
    return any(one["value"][1] != "NaN" for one in found)
