import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from serving.app import application
from tools.compare_openapi import contract, main

QUIZ = "/api/learning/{username}/submit-quiz"


@pytest.fixture
def document() -> dict[str, Any]:
    return deepcopy(application().state.openapi)


def differences(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return contract(before) ^ contract(after)


def test_a_document_is_equal_to_itself(document: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document))
    assert main([str(file), str(file)]) == 0
    assert len(contract(document)) > 500


def test_each_difference_is_one_line_with_its_direction(
    document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(json.dumps(document))
    del document["paths"]["/livez"]["get"]["responses"]["414"]
    document["paths"]["/livez"]["get"]["responses"]["418"] = {"description": "a teapot"}
    after.write_text(json.dumps(document))
    assert main([str(before), str(after)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "- GET /livez: response 414 required field error",
        "- GET /livez: status 414",
        "+ GET /livez: status 418",
    ]


def test_a_missing_path_method_or_parameter_is_a_difference(document: dict[str, Any]) -> None:
    after = deepcopy(document)
    del after["paths"]["/metrics"]
    del after["paths"]["/api/user/{username}"]["delete"]
    parameters = after["paths"]["/api/user/{username}/recommendations"]["get"]["parameters"]
    parameters[1]["required"] = True
    found = differences(document, after)
    assert {"GET /metrics", "DELETE /api/user/{username}"} <= found
    name = "GET /api/user/{username}/recommendations"
    assert f"{name}: optional query parameter count" in found
    assert f"{name}: required query parameter count" in found


def test_a_changed_field_of_a_nested_schema_is_a_difference(document: dict[str, Any]) -> None:
    after = deepcopy(document)
    schemas = after["components"]["schemas"]
    schemas["QuizSubmission"]["required"].remove("score")
    del schemas["Reason"]["properties"]["text"]
    assert differences(document, after) == {
        f"POST {QUIZ}: body required field score",
        f"POST {QUIZ}: body optional field score",
        "GET /api/user/{username}/recommendations: response 200 required field "
        "recommendations[].reasons[].text",
    }


def test_names_of_schemas_and_descriptions_are_no_difference(document: dict[str, Any]) -> None:
    text = json.dumps(document).replace("QuizSubmission", "Submission")
    renamed = json.loads(text.replace("Record a finished quiz", "Record one"))
    assert differences(document, renamed) == set()
