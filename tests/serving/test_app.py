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
    content: dict[str, Any] = client.get("/openapi.json").json()
    return content


def test_every_endpoint_is_in_the_document_with_all_its_statuses(document: dict[str, Any]) -> None:
    for endpoint in ENDPOINTS:
        operation = document["paths"][endpoint.path][endpoint.method.lower()]
        assert operation["summary"]
        assert list(operation["responses"]) == [str(status) for status in endpoint.documented]
        assert set(endpoint.documented) <= STATUSES.keys()
        in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", endpoint.path))
    assert document["openapi"].startswith("3.1")


def test_every_example_is_an_answer() -> None:
    with_example = [endpoint for endpoint in ENDPOINTS if endpoint.example and endpoint.returns]
    assert len(with_example) > 4
    for declared in with_example:
        declared.returns.model_validate(declared.example)


def test_no_two_endpoints_share_a_method_and_a_path_or_a_name() -> None:
    assert len({(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}) == len(ENDPOINTS)
    assert len({endpoint.handle.__name__ for endpoint in ENDPOINTS}) == len(ENDPOINTS)


def test_every_parameter_has_a_type_and_none_may_be_null(
    document: dict[str, Any],
) -> None:
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                assert "type" in parameter["schema"], parameter
                assert "null" not in str(parameter["schema"])


def test_every_reference_of_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r"'#/components/schemas/([^']+)'", str(document)))
    assert references
    assert references <= document["components"]["schemas"].keys()


def test_every_endpoint_except_pages_has_a_role_or_is_declared_open() -> None:
    api = [endpoint for endpoint in ENDPOINTS if endpoint.path.startswith("/api/")]
    assert api
    assert all(endpoint.scope in ("platform", "operator") for endpoint in api)


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
    response = TestClient(app).request("PATCH", re.sub(r"{\w+}", "1", path))
    methods = {endpoint.method for endpoint in ENDPOINTS if endpoint.path == path}
    allowed = methods | ({"HEAD"} if "GET" in methods else set())
    assert (response.status_code, response.headers["allow"]) == (405, ", ".join(sorted(allowed)))


def test_a_file_of_the_pages_may_only_be_read(client: TestClient) -> None:
    response = client.post("/docs/assets/swagger-ui.css")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")
    assert client.get("/docs/assets/nothing.css").status_code == 404


def test_schemas_in_the_document_have_plain_names(document: dict[str, Any]) -> None:
    """Two classes of one name would be told apart by the paths of their modules."""
    names = list(document["components"]["schemas"])
    assert len(names) > 30
    assert [name for name in names if not re.fullmatch(r"[A-Z][A-Za-z]+", name)] == []
    assert "serving__" not in repr(document["components"]["schemas"])
