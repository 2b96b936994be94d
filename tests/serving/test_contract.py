"""The real server answers whatever the OpenAPI document allows, and what it forbids, as it says."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig

from sensei import curriculum
from sensei.access import key_store
from sensei.events.log import open_log
from sensei.storage.database import upgrade
from serving.app import application
from serving.http.endpoints import STATUSES

pytestmark = pytest.mark.slow

REFUSALS = [status for status in STATUSES if 400 <= status < 500]
CHECKED = {
    # What the document allows may be refused all the same: a learner who was erased, two goals at
    # once, a moment in the future.
    "positive_data_acceptance": {"enabled": False},
    "negative_data_rejection": {"expected-statuses": REFUSALS},
}
schema = schemathesis.openapi.from_dict(
    application().state.openapi,
    config=SchemathesisConfig.from_dict({"checks": CHECKED, "generation": {"deterministic": True}}),
)


@pytest.fixture(scope="module")
def ask(
    tmp_path_factory: pytest.TempPathFactory, planted_bundle: Path, serve: Callable[..., Any]
) -> Iterator[Callable[[Any], None]]:
    """Sends a case with an operator's key and holds the answer against the document."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(planted_bundle, home / "bundles" / planted_bundle.name)
    url = f"sqlite:///{home / 'sensei.db'}"
    upgrade(url)
    log = open_log(url)
    curriculum.store(log.engine, curriculum.load_file())
    log.set_pointer(planted_bundle.name)
    headers = {"Authorization": f"Bearer {key_store.create(log.engine, 'operator')[1]}"}
    log.close()
    with serve(SENSEI_HOME=str(home), SENSEI_LOG_LEVEL="WARNING") as server:

        def request(case: Any) -> None:
            answer = case.call(base_url=server.url, headers=headers)
            case.validate_response(answer, headers=headers)

        yield request
        output = server.output.read_text()
    assert "Traceback" not in output


@schema.parametrize()
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_document_describes(
    case: schemathesis.Case, ask: Callable[[Any], None]
) -> None:
    ask(case)
