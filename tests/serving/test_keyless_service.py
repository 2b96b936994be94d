"""A real service without keys, and what it refuses to whom."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from sensei import curriculum
from sensei.events.log import Log, open_log
from sensei.storage.database import upgrade
from serving.http.keyless import kernel_names_owners


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    url = f"sqlite:///{tmp_path_factory.mktemp('home') / 'sensei.db'}"
    upgrade(url)
    log = open_log(url)
    curriculum.store(log.engine, curriculum.load_file())
    yield log
    log.close()


@pytest.fixture(scope="module")
def server(log: Log, serve: Callable[..., Any]) -> Iterator[Any]:
    home = str(log.engine.url.database).removesuffix("/sensei.db")
    with serve(SENSEI_HOME=home) as server:
        yield server


def sent(server: Any, request: str, *headers: str) -> int:
    """The status of a request that is sent byte for byte."""
    port = urlsplit(server.url).port
    lines = [request, *headers, "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as end:
        end.sendall("\r\n".join(lines).replace("PORT", str(port)).encode())
        return int(end.makefile().readline().split()[1])


LIST = "GET /api/user/mia/recommendations HTTP/1.1"


def test_programs_of_the_same_account_are_answered(server: Any) -> None:
    assert sent(server, LIST, "Host: 127.0.0.1:PORT") == 200
    assert sent(server, LIST, "Host: localhost:PORT") == 200


def test_readiness_reports_that_there_are_no_keys(server: Any) -> None:
    keys = server.get("/readyz").json()["keys"]
    assert keys["state"] == "none"
    assert "`sensei keys create`" in keys["note"]
    assert keys["note"] in server.output.read_text()


def test_it_refuses_proxies_and_foreign_hosts(server: Any) -> None:
    assert sent(server, LIST.replace("1.1", "1.0"), "Host: 127.0.0.1:PORT") == 401  # nginx
    assert sent(server, LIST, "Host: 127.0.0.1:PORT", "X-Forwarded-Proto: https") == 401
    assert sent(server, LIST, "Host: 127.0.0.1:PORT", "CF-Connecting-IP: 192.0.2.7") == 401
    assert sent(server, LIST, "Host: evil.example:PORT") == 401
    assert sent(server, LIST, "Host: 127.0.0.1:1") == 401


def test_two_hosts_are_one_too_many(server: Any) -> None:
    assert sent(server, LIST, "Host: evil.example", "Host: 127.0.0.1:PORT") == 400
    assert sent(server, LIST, "Host: 127.0.0.1:PORT", "Host: 127.0.0.1:PORT") == 400


def test_a_page_of_another_site_logs_no_view(server: Any, log: Log) -> None:
    path = f"{server.url}/api/knowledge-base/1?username=mia"
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert httpx.get(path, headers=headers).status_code == 403
    assert log.count() == 0
    assert httpx.get(path, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert log.count() == 1


@pytest.mark.skipif(
    os.geteuid() != 0 or not kernel_names_owners(), reason="only root may become another account"
)
def test_another_account_of_this_machine_is_refused(server: Any) -> None:
    port = urlsplit(server.url).port
    program = f"""
import encodings.idna, os, socket
os.setuid(33)
end = socket.create_connection(("127.0.0.1", {port}), timeout=60)
end.sendall(b"{LIST}\\r\\nHost: 127.0.0.1:{port}\\r\\nConnection: close\\r\\n\\r\\n")
print(end.recv(100))
"""
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "HTTP/1.1 401" in completed.stdout, completed.stderr


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize(
    ("levels", "status"), [(32, 200), (33, 422), (300, 422), (1_000, 422), (50_000, 400)]
)
def test_metadata_may_be_nested_so_deep_and_no_deeper(
    server: Any, levels: int, status: int
) -> None:
    event = {"user_id": "leo", "interaction_type": "text_read", "topic_id": 1, "metadata": "META"}
    body = json.dumps(event).replace('"META"', nested(levels))
    answer = post(server, "/api/interactions", body)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert "levels of nesting" in answer.json()["error"]


@pytest.mark.parametrize("body", ["[" * 500 + "]" * 500, "[" * 60_000, nested(900), nested(10_000)])
def test_no_body_is_nested_too_deep_to_be_refused(server: Any, body: str) -> None:
    wrapped = '{"features": ' + body + "}"
    paths = ["/api/interactions", "/api/learning/leo/submit-quiz", "/predict"]
    for path in [*paths, "/bento/predict", "/bento/recommend"]:
        for content in (body, wrapped):
            assert 400 <= post(server, path, content).status_code < 500, path


def post(server: Any, path: str, content: str) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return httpx.post(server.url + path, content=content, headers=headers, timeout=60)
