"""Assembly of the application: the OpenAPI document and the pages, both self-contained."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from serving.app import ENDPOINTS, app, application
from serving.http.endpoints import STATUSES


@pytest.fixture
def client() -> TestClient:
    served = application()
    served.state.engine = SimpleNamespace(describe=lambda: [("models", "<none>")])
    return TestClient(served)


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def test_every_endpoint_is_in_the_document_with_all_its_statuses(document: dict[str, Any]) -> None:
    for each in ENDPOINTS:
        operation = document["paths"][each.path][each.method.lower()]
        assert operation["summary"]
        assert list(operation["responses"]) == [str(status) for status in each.documented]
        assert set(each.documented) <= STATUSES.keys()
        in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", each.path))
    assert document["openapi"].startswith("3.1")


def test_every_example_is_an_answer() -> None:
    shown = [each for each in ENDPOINTS if each.example and each.returns]
    assert len(shown) > 4
    for each in shown:
        each.returns.model_validate(each.example)


def test_no_two_endpoints_share_a_method_and_a_path_or_a_name() -> None:
    assert len({(each.method, each.path) for each in ENDPOINTS}) == len(ENDPOINTS)
    assert len({each.handle.__name__ for each in ENDPOINTS}) == len(ENDPOINTS)


def test_every_parameter_has_a_type_and_none_may_be_null(
    document: dict[str, Any],
) -> None:
    for operations in document["paths"].values():
        for operation in operations.values():
            for each in operation["parameters"]:
                assert "type" in each["schema"], each
                assert "null" not in str(each["schema"])


def test_every_reference_of_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    used = set(re.findall(r"'#/components/schemas/([^']+)'", str(document)))
    assert used
    assert used <= document["components"]["schemas"].keys()


def test_every_endpoint_of_our_own_but_pages_is_for_a_role_or_said_to_be_open() -> None:
    api = [each for each in ENDPOINTS if each.path.startswith("/api/")]
    assert api
    assert all(each.scope in ("platform", "operator") for each in api)


def test_the_page_of_the_api_loads_what_it_needs_from_here(client: TestClient) -> None:
    page = client.get("/docs").text
    assert not re.search(r"https?://", page)
    for path in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert client.get(path).status_code == 200, path
    assert "validatorUrl: null" in page  # else Swagger UI asks a server elsewhere


def test_what_is_served_is_shown_as_text(client: TestClient) -> None:
    assert "&lt;none&gt;" in client.get("/").text


@pytest.mark.parametrize("path", sorted({endpoint.path for endpoint in ENDPOINTS}))
def test_the_application_that_the_service_mounts_answers_every_declared_path(path: str) -> None:
    refused = TestClient(app).request("PATCH", re.sub(r"{\w+}", "1", path))
    methods = {endpoint.method for endpoint in ENDPOINTS if endpoint.path == path}
    allowed = methods | ({"HEAD"} if "GET" in methods else set())
    assert (refused.status_code, refused.headers["allow"]) == (405, ", ".join(sorted(allowed)))


def test_a_file_of_the_pages_may_only_be_read(client: TestClient) -> None:
    refused = client.post("/docs/assets/swagger-ui.css")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert client.get("/docs/assets/nothing.css").status_code == 404


def test_schemas_in_the_document_have_plain_names(document: dict[str, Any]) -> None:
    """Two classes of one name would be told apart by the paths of their modules."""
    names = list(document["components"]["schemas"])
    assert len(names) > 30
    assert [name for name in names if not re.fullmatch(r"[A-Z][A-Za-z]+", name)] == []
    assert "serving__" not in repr(document["components"]["schemas"])
