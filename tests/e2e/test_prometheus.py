"""A real Prometheus scrapes the metrics: alerts and dashboard understand what comes.

And Prometheus' own tool finds nothing to mend in the text, the rules and the scrape configurations.
"""

from __future__ import annotations

import hmac
import json
import signal
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.packages import program
from support.cgroups import OwnCgroup
from support.metrics import COST, HOSTILE, NODE, OUTPUTS, SickNode, hostile_metrics
from support.puppet import Puppet
from support.stream import Stream
from support.waiting import wait_until
from threadtrace.metrics.exposition import Exposition
from threadtrace.metrics.labels import valid

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/threadtrace.rules.yaml"
RULES_TEST = ROOT / "deploy/prometheus/threadtrace.rules.test.yaml"
SCRAPE = ROOT / "deploy/prometheus/scrape.yaml"
SCRAPE_KUBERNETES = ROOT / "deploy/prometheus/scrape-kubernetes.yaml"
DASHBOARD = ROOT / "deploy/grafana/threadtrace.json"
TOKEN = "correct-horse-battery-staple"
DEADLINE_SECONDS = 60

# What the discovery of Kubernetes may say of the target: no workload is to be called so.
AGENTS_POD = {"namespace": "monitoring", "pod": "threadtrace-0", "container": "threadtrace"}

Render = Callable[[str], tuple[bytes, str]]

# Those that need an agent that does not answer, or minutes.
NOT_FIRING = {"ThreadtraceAgentDown", "ThreadtraceAgentGone", "ThreadtraceAbsent"}


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of prometheus and promtool."""
    directory = tmp_path_factory.mktemp("prometheus-package")
    return Path(program("prometheus", "prometheus", directory).path).parent


@pytest.fixture
def sick_agent() -> Iterator[str]:
    """IP:PORT of an agent on a node on which everything is wrong; it demands ``TOKEN``."""
    node = SickNode()
    lock = threading.Lock()

    def render(accept: str) -> tuple[bytes, str]:
        with lock:
            node.tick()
            return node.render(accept)

    with serving(render) as address:
        yield address


@pytest.fixture
def real_agent(host: None, tmp_path: Path) -> Iterator[str]:
    """IP:PORT of ``threadtrace stream`` on this machine, with the same token."""
    (tmp_path / "agent.token").write_text(TOKEN)
    address = free_address()
    with Stream(
        "--listen",
        address,
        "--token-file",
        str(tmp_path / "agent.token"),
        "--socket",
        str(tmp_path / "agent.sock"),
        environment={"NODE_NAME": NODE},
    ):
        yield address


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return f"127.0.0.1:{unused.getsockname()[1]}"


@contextmanager
def serving(render: Render) -> Iterator[str]:
    """A tiny server of metrics."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told = self.headers.get("Authorization", "")
            if self.path != "/metrics" or not hmac.compare_digest(told, f"Bearer {TOKEN}"):
                self.send_error(401)
                return
            body, content_type = render(self.headers.get("Accept", ""))
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Prometheus:
    """A running one, asked through its API."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}"

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer; an error of the query is one of the test."""
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error
        assert told["status"] == "success", told
        assert not told.get("warnings"), told
        return told["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def number(self, expression: str) -> float:
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else 0.0


@contextmanager
def prometheus(
    programs: Path, directory: Path, agent: str, rules: str = ""
) -> Iterator[Prometheus]:
    """Scrapes that agent each second, with the example's options; ended by its PID."""
    (directory / "token").write_text(TOKEN)
    configuration = directory / "prometheus.yml"
    configuration.write_text(
        json.dumps(  # which is YAML, too
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [rules] if rules else [],
                "scrape_configs": [
                    {
                        "job_name": "threadtrace",
                        "honor_labels": True,
                        "authorization": {
                            "type": "Bearer",
                            "credentials_file": str(directory / "token"),
                        },
                        "static_configs": [{"targets": [agent], "labels": AGENTS_POD}],
                    }
                ],
            }
        )
    )
    address = free_address()
    log = directory / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [
                programs / "prometheus",
                f"--config.file={configuration}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={address}",
                "--log.level=warn",
            ],
            stdout=stderr,
            stderr=stderr,
        )
    try:
        running = Prometheus(address)
        wait_until(
            lambda: process.poll() is not None or running.is_ready(),
            DEADLINE_SECONDS,
            log.read_text,
        )
        assert process.poll() is None, log.read_text()
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(DEADLINE_SECONDS)
        finally:
            process.kill()
            process.wait()


def wait_for_scrapes(running: Prometheus, count: int) -> None:
    wait_until(
        lambda: running.number(f"count_over_time(up[5m]) >= {count}"),
        DEADLINE_SECONDS,
        lambda: str(running.get("targets")["activeTargets"]),
    )
    for target in running.get("targets")["activeTargets"]:
        assert target["health"] == "up", target["lastError"]


def dashboard_queries() -> list[str]:
    """Of its panels, variables and annotations, with the variables as All."""
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())
    ]
    queries += [entry["expr"] for entry in dashboard["annotations"]["list"] if "expr" in entry]
    for query in queries:
        assert 'node=~"$node"' in query, "every panel is of the nodes that were chosen"
    return [
        query.replace("$__rate_interval", "1m").replace("$node", ".*").replace("$namespace", ".*")
        for query in queries
    ]


def test_dashboard_and_alerts_get_what_they_ask_for(
    programs: Path, tmp_path: Path, sick_agent: str
) -> None:
    with prometheus(programs, tmp_path, sick_agent, str(RULES)) as running:
        wait_for_scrapes(running, 4)
        queries = dashboard_queries()
        assert len(queries) > 20
        for query in queries:
            assert running.query(query) or query.startswith("changes("), f"no data: {query}"
        # What the variables of the dashboard are filled from.
        assert running.get("label/node/values") == [NODE]
        assert "shop" in running.get("label/namespace/values")
        (common,) = running.query('threadtrace_tasks{container="(other)"}')
        assert common["metric"].keys() & AGENTS_POD.keys() == {"container"}
        check_alerts(running)


def test_the_real_agent_is_counted_exactly(
    programs: Path, tmp_path: Path, cgroup: OwnCgroup, actor: Puppet, real_agent: str
) -> None:
    with prometheus(programs, tmp_path, real_agent, str(RULES)) as running:
        wait_for_scrapes(running, 2)
        assert actor.do("threads", 997).created == 997
        cgroup.set_limit(998)
        assert actor.do("threads", 13).refused == 13

        def value(metric: str, labels: str = "") -> float:
            return running.number(f'{metric}{{container="{cgroup.path}"{labels}}}')

        wait_until(
            lambda: (
                value("threadtrace_forks_refused_total", ', limit="pids_max"') == 13
                and value("threadtrace_threads_created_total") == 997
                and value("threadtrace_tasks") == 998
                and value("threadtrace_tasks_limit") == 998
            ),
            DEADLINE_SECONDS,
            lambda: str(running.query(f'{{container="{cgroup.path}"}}')),
        )
        assert running.number(f'threadtrace_node_tasks{{node="{NODE}"}}') > 998
        for metric in ("threads_created", "processes_created", "exits", "forks_refused"):
            both = f"sum(threadtrace_{metric}_total) - sum(threadtrace_node_{metric}_total)"
            assert running.number(both) == 0, metric
        # Clones of others may be refused on this machine, too.
        alert = 'alertname="ThreadtraceWorkloadRefused", alertstate="firing"'
        told = f'ALERTS{{{alert}, container="{cgroup.path}"}}'
        wait_until(lambda: running.query(told), DEADLINE_SECONDS, "the alert")
        (found,) = running.query(told)
        assert found["metric"]["limit"] == "pids_max"
        for query in dashboard_queries():
            running.query(query)


def check_alerts(running: Prometheus) -> None:
    """Each rule can be evaluated; on a node like this nearly all of them want to fire."""

    def rules() -> list[dict[str, Any]]:
        return [rule for group in running.get("rules")["groups"] for rule in group["rules"]]

    wait_until(
        lambda: all(rule["health"] == "ok" for rule in rules()),
        DEADLINE_SECONDS,
        lambda: str([rule["lastError"] for rule in rules() if rule["health"] != "ok"]),
    )
    wait_until(
        lambda: {rule["name"] for rule in rules() if rule["state"] == "inactive"} <= NOT_FIRING,
        DEADLINE_SECONDS,
        lambda: str([rule["name"] for rule in rules() if rule["state"] == "inactive"]),
    )
    for rule in rules():
        running.query(rule["query"])
        assert (rule["state"] == "inactive") == (rule["name"] in NOT_FIRING)
        for alert in rule["alerts"]:
            told = alert["annotations"]
            assert set(told) == {"summary", "description", "runbook"}
            assert "threadtrace why" in told["runbook"]
            for text in told.values():
                assert "no value" not in text
                assert "<error" not in text
                assert "{{" not in text


@pytest.mark.parametrize("accept", [None, "text/plain"], ids=["OpenMetrics", "plain"])
def test_hostile_names_arrive_as_they_are(
    programs: Path, tmp_path: Path, accept: str | None
) -> None:
    exposition = Exposition(hostile_metrics())

    def render(asked: str) -> tuple[bytes, str]:
        return exposition.render(asked if accept is None else accept, COST, OUTPUTS)

    with serving(render) as address, prometheus(programs, tmp_path, address) as running:
        wait_for_scrapes(running, 1)
        found = running.query('threadtrace_threads_created_total{pod!=""}')
        assert len(found) == len(HOSTILE)
        assert {series["metric"]["namespace"] for series in found} == {
            valid(name) for name in HOSTILE
        }
        assert len(running.query("threadtrace_node_tasks")) == 1


@pytest.mark.parametrize("node", ["sick", "hostile"])
def test_promtool_likes_the_metrics(programs: Path, node: str) -> None:
    if node == "sick":
        sick = SickNode()
        sick.tick()
        text, _ = sick.render("")
    else:
        text, _ = Exposition(hostile_metrics()).render("", COST, OUTPUTS)
    done = subprocess.run(
        [programs / "promtool", "check", "metrics"], input=text, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    "command",
    [
        ["check", "rules", "--lint=all", "--lint-fatal", str(RULES)],
        ["test", "rules", str(RULES_TEST)],
        ["check", "config", "--syntax-only", str(SCRAPE)],
    ],
    ids=["check rules", "test rules", "check config"],
)
def test_promtool_likes_the_files(programs: Path, command: list[str]) -> None:
    done = subprocess.run(
        [programs / "promtool", *command], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_likes_the_configuration_for_kubernetes(programs: Path) -> None:
    done = subprocess.run(
        [programs / "promtool", "check", "config", "--syntax-only", str(SCRAPE_KUBERNETES)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    # Debian builds Prometheus without the discovery of Kubernetes.
    wrong = [line for line in done.stderr.splitlines() if line.startswith("  line ")]
    assert all("field kubernetes_sd_configs not found" in line for line in wrong), done.stderr
    assert done.returncode == 0 or wrong, done.stdout + done.stderr


def test_every_alert_is_tried_and_documented() -> None:
    lines = RULES.read_text().splitlines()
    alerts = [line.split()[-1] for line in lines if line.strip().startswith("- alert:")]
    assert len(alerts) == len(set(alerts)) > 10
    tried, told = RULES_TEST.read_text(), (ROOT / "docs/metrics.md").read_text()
    for alert in alerts:
        assert alert in tried, alert
        assert f"`{alert}`" in told, alert
