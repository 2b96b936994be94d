"""Flows and commands accept every model by name."""

from typing import get_args, get_type_hints

import pytest
from prefect.utilities.callables import parameter_schema

from flows.cli.export_command import export
from flows.promote_model import promote_model
from flows.rollback_model import rollback_model
from sensei.model_name import ModelName


def test_rollback_and_export_offer_every_model() -> None:
    rolled_back, exported = (
        get_args(get_type_hints(command)["model"]) for command in (rollback_model.fn, export)
    )
    assert rolled_back == ("changed last", *ModelName)
    assert exported == (*ModelName, "all")


@pytest.mark.parametrize("model_name", ModelName)
def test_promotion_takes_the_name_that_a_form_sends(model_name: ModelName) -> None:
    form = {"reviewer": "Ada", "model": model_name.value}
    assert promote_model.validate_parameters(form)["model"] is model_name
    schema = parameter_schema(promote_model)
    assert schema.definitions["ModelName"]["enum"] == [*ModelName]
    assert schema.properties["model"]["default"] == "recommendation"
