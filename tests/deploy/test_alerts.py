"""The alerts by themselves, with the tool that comes with Prometheus."""

import re
import subprocess

import pytest

from tests.deploy.prometheus import MONITORING, program


@pytest.mark.toolchains
@pytest.mark.timeout(300)  # promtool writes a database for each test: slow on a busy disk
@pytest.mark.parametrize("check", [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")])
def test_promtool_finds_the_files_right(check: tuple[str, ...]) -> None:
    done = subprocess.run([program("promtool"), *check], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    alerts = set(re.findall(r"alert: (\w+)", (MONITORING / "alerts.yml").read_text()))
    fired = re.findall(r"alertname: (\w+)\n +exp_alerts:\n", (MONITORING / "alerts_test.yml").read_text())
    assert alerts == set(fired)
