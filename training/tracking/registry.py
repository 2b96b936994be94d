"""Model registry (MLflow): versions and their aliases."""

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensei.errors import StorageUnavailable
from sensei.model_name import ModelName
from sensei.storage.database import connect
from sensei.storage.locks import exclusive_lock
from training.tracking.model_version import Version

if TYPE_CHECKING:
    import keras

EXPERIMENT = "cyber-sensei"
CHAMPION = "champion"
CHALLENGER = "challenger"
BUNDLE = "bundle"
"""Tag of a version: digest of the bundle it was exported to."""

_RETRIES = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
"""Retry limit of MLflow's HTTP client: an error is raised after about 15 s, not after minutes."""

_UNREACHABLE = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # no such model, no such alias


class Registry:
    """MLflow at one tracking URI: a local database, or a server."""

    def __init__(self, tracking_uri: str, artifacts: Path) -> None:
        """Connect, and make the experiment if it does not exist.

        Args:
            tracking_uri: `sqlite:///...`, or `http://...` of an `mlflow server`.
            artifacts: folder for models and plots; a server uses its own.

        Raises:
            StorageUnavailable: the URI does not answer, or its database is at another migration.
        """
        from training.tracking.mlflow_status import check_store

        check_store(tracking_uri)
        from mlflow import MlflowClient

        os.environ.setdefault(*_RETRIES)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self.tracking_uri = tracking_uri
        try:
            with _one_at_a_time(tracking_uri):
                self.client = MlflowClient(tracking_uri)
                self.experiment_id = self._experiment(tracking_uri, artifacts)
        except Exception as error:  # requests, SQLAlchemy or MLflow, depending on the URI
            raise StorageUnavailable(
                f"MLflow: expected {tracking_uri.split('@')[-1]} to answer, got "
                f"{str(error)[:_SAID]}; "
                "check SENSEI_MLFLOW_TRACKING_URI and that SENSEI_HOME is writable"
            ) from error

    def _experiment(self, tracking_uri: str, artifacts: Path) -> str:
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is not None:
            return str(experiment.experiment_id)
        served = tracking_uri.startswith("http")
        location = None if served else artifacts.absolute().as_uri()
        return str(self.client.create_experiment(EXPERIMENT, artifact_location=location))

    def register(
        self, model_name: str, run_id: str, uri: str, description: str, tags: Mapping[str, str]
    ) -> str:
        """Register a logged model as a version with the alias `challenger`.

        Args:
            model_name: `recommendation` or `difficulty`.
            run_id: run that trained the model.
            uri: URI of the logged model; see `training.tracking.run_logging.LoggedRun`.
            description: text for the reviewer.
            tags: tags by which a reviewer filters.

        Returns:
            The number of the version, as text.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        mlflow.set_tracking_uri(self.tracking_uri)  # MLflow looks up the logged model there
        with stored():
            try:
                self.client.create_registered_model(model_name, description=_ABOUT.get(model_name))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            created = self.client.create_model_version(
                model_name,
                uri,
                run_id,
                tags=dict(tags),
                description=description,
                model_id=uri.removeprefix("models:/"),
            )
            self.client.set_registered_model_alias(model_name, CHALLENGER, created.version)
        return str(created.version)

    def describe(self, model_name: str, version: str, text: str) -> None:
        """Replace the description of a version, in Markdown."""
        with stored():
            self.client.update_model_version(model_name, version, text)

    def note(self, run_id: str, text: str) -> None:
        """Put Markdown text before the description of a run, unless it is already there."""
        with stored():
            before = self.client.get_run(run_id).data.tags.get(_NOTE, "")
            if not before.startswith(text):
                self.client.set_tag(run_id, _NOTE, f"{text}\n\n{before}")

    def measure(self, run_id: str, figures: Mapping[str, float]) -> None:
        """Add metrics to a run."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with stored():
            self.client.log_batch(run_id, [Metric(k, v, now, 0) for k, v in figures.items()])

    def attach(self, run_id: str, texts: Mapping[str, str]) -> None:
        """Add text files to a run.

        Args:
            run_id: id of the run.
            texts: file name -> content.
        """
        with stored():
            for name, text in texts.items():
                self.client.log_text(run_id, text, name)

    def champion(self, model_name: str) -> str | None:
        """Return the version with the champion alias; the ledger in the database has precedence."""
        return self._bearer(model_name, CHAMPION)

    def challenger(self, model_name: str) -> str | None:
        """Return the version that awaits a decision, if any."""
        return self._bearer(model_name, CHALLENGER)

    def _bearer(self, model_name: str, alias: str) -> str | None:
        from mlflow.exceptions import MlflowException

        with stored():
            try:
                return str(self.client.get_model_version_by_alias(model_name, alias).version)
            except MlflowException as error:
                if error.error_code in _ABSENT:
                    return None
                raise

    def versions(self) -> list[Version]:
        """Return every registered version, newest first."""
        with stored():
            return self._versions()

    def _versions(self) -> list[Version]:
        versions = []
        for registered in self.client.search_registered_models():
            aliases_of: dict[str, list[str]] = {}
            for alias, version in registered.aliases.items():
                aliases_of.setdefault(str(version), []).append(alias)
            for entry in self.client.search_model_versions(f"name='{registered.name}'"):
                aliases = tuple(sorted(aliases_of.get(str(entry.version), ())))
                versions.append(Version.of(registered.name, entry, aliases))
        return sorted(versions, key=lambda v: v.created_at, reverse=True)

    def exists(self, model_name: str, version: str) -> bool:
        """Tell if the registry has a version."""
        return self._version(model_name, version) is not None

    def bundle(self, model_name: str, version: str) -> str | None:
        """Return the digest of the bundle that a version was exported to; None if it has none."""
        entry = self._version(model_name, version)
        return entry.tags.get(BUNDLE) if entry else None

    def _version(self, model_name: str, version: str) -> Any:
        from mlflow.exceptions import MlflowException

        with stored():
            try:
                return self.client.get_model_version(model_name, version)
            except MlflowException as error:
                if error.error_code in _ABSENT:
                    return None
                raise

    def crown(self, model_name: str, version: str) -> None:
        """Move the champion alias to a version, and remove its challenger alias if it has one."""
        with stored():
            self.client.set_registered_model_alias(model_name, CHAMPION, version)
            if self.challenger(model_name) == version:
                self.client.delete_registered_model_alias(model_name, CHALLENGER)

    def uncrown(self, model_name: str) -> None:
        """Remove the champion alias."""
        with stored():
            self.client.delete_registered_model_alias(model_name, CHAMPION)

    def tag(self, model_name: str, version: str, tags: Mapping[str, str]) -> None:
        """Add tags to a version, for example its bundle or the gate's reason."""
        with stored():
            for key, value in tags.items():
                self.client.set_model_version_tag(model_name, version, key, value)

    def load(self, model_name: str, version: str) -> "keras.Model":
        """Load a version as its Keras model."""
        from training.tensorflow_import import import_tensorflow

        import_tensorflow()
        import mlflow.tensorflow

        mlflow.set_tracking_uri(self.tracking_uri)
        return mlflow.tensorflow.load_model(f"models:/{model_name}/{version}")


_SAID = 200
"""Maximum number of characters quoted from an MLflow error."""

_NOTE = "mlflow.note.content"

_ABOUT: dict[str, str] = {
    ModelName.RECOMMENDATION: "Next topic to study: probabilities over topics from twenty inputs.",
    ModelName.DIFFICULTY: "Difficulty of the next quiz: expected success at easy, medium and hard.",
}


@contextmanager
def _one_at_a_time(tracking_uri: str) -> Iterator[None]:
    """Hold a lock: of two processes that open a new database at once, one would fail."""
    if tracking_uri.startswith("http"):
        yield
        return
    engine = connect(tracking_uri)
    try:
        with exclusive_lock(engine, "mlflow"):
            yield
    finally:
        engine.dispose()


@contextmanager
def stored() -> Iterator[None]:
    """Translate failures of MLflow's server or storage into one sentence with the next step.

    Raises:
        StorageUnavailable: the server, its database or its folder failed.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except OSError as error:
        raise StorageUnavailable(
            f"MLflow: expected to write its artifacts, got {error.strerror or error}; "
            "free some space or make SENSEI_HOME writable, then repeat"
        ) from error
    except MlflowException as error:
        if error.error_code not in _UNREACHABLE:
            raise
        raise StorageUnavailable(
            f"MLflow: expected an answer, got {str(error)[:_SAID]}; check that it runs, then repeat"
        ) from error
