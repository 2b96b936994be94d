"""Metrics of several workers add up; logs are JSON."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

from serving.observability import REQUEST_ID, JsonLines

ROOT = Path(__file__).resolve().parents[2]
WORKER = """
import sys
from serving import observability as seen
seen.EVENTS.inc(int(sys.argv[1]))
seen.SECONDS.labels("/a").observe(0.003)
seen.serves({"difficulty": ("reference", "6")})
seen.serves({"difficulty": ("history", "7")})
seen.IN_FLIGHT.inc()
seen.SHARED.write()
if sys.argv[1] == "5":
    print(seen.exposition().decode())
"""


def work(folder: Path, amount: int) -> str:
    return subprocess.run(
        [sys.executable, "-c", WORKER, str(amount)],
        cwd=ROOT,
        env={"PROMETHEUS_MULTIPROC_DIR": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_counters_of_all_workers_add_up_and_gauges_are_those_of_live_workers(
    tmp_path: Path,
) -> None:
    work(tmp_path, 2)
    metrics = work(tmp_path, 5)
    assert "sensei_events_appended_total 7.0" in metrics
    assert 'sensei_http_request_seconds_count{route="/a"} 2.0' in metrics
    assert re.search(r"^sensei_http_requests_in_flight 1.0$", metrics, re.MULTILINE)
    serving = dict(re.findall(r'models_serving{.*version="(\d)"} ([\d.]+)', metrics))
    assert serving == {"6": "0.0", "7": "1.0"}


def test_a_line_holds_the_request_it_belongs_to() -> None:
    record = logging.LogRecord("serving", logging.WARNING, "", 1, "not %s", ("served",), None)
    token = REQUEST_ID.set("r-1")
    line = json.loads(JsonLines().format(record))
    REQUEST_ID.reset(token)
    assert (line["message"], line["request_id"], line["level"]) == ("not served", "r-1", "WARNING")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])
    assert json.loads(JsonLines().format(record))["request_id"] is None
