"""One frozen settings object; only flows, command line and service create it."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sensei.errors import InvalidInput
from sensei.privacy.suppression import FILE

PREFIX = "SENSEI_"


class Settings(BaseSettings):
    """Every setting of the project, read from `SENSEI_*` variables; an empty one counts as unset.

    Raises:
        InvalidInput: a variable holds an invalid value.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore"
    )

    home: Path = Field(Path("var"), description="Folder of all files that a run writes")
    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite under home")
    mlflow_tracking_uri: str = Field("", description="MLflow tracking; empty: SQLite under home")
    seed: int = Field(0, description="Seed of every random choice")
    max_quarantined_share: float = Field(
        0.05, ge=0, le=1, description="Maximum share of bad rows; above it a run stops"
    )
    promotion_margin: float = Field(
        0.0, ge=0, description="Margin that the lower bound of the gain must exceed"
    )
    drift_days: int = Field(7, ge=1, description="Days per window of a drift report")
    acceptance_hours: int = Field(
        24, ge=1, description="Hours after an answer in which events count as its outcome"
    )
    drift_alarm: float = Field(
        0.1, gt=0, le=1, description="Minimum drift score that raises an alarm"
    )
    alarm_cooldown_hours: int = Field(
        24, ge=0, description="Minimum hours between two retrainings by the same alarm"
    )
    volume_alarm: float = Field(
        0.25, ge=0, le=1, description="Share of the usual events below which volume is an alarm"
    )
    max_silence_days: float = Field(
        2, gt=0, description="Days without an event that are no alarm; longer usual gaps neither"
    )
    max_run_age_days: float = Field(
        3, gt=0, description="Maximum days since the last good training and the last monitor run"
    )
    kept_reports: int = Field(20, ge=1, description="HTML reports kept per kind")
    control_share: float = Field(
        0.05, ge=0, le=1, description="Share of learners in the control arm, served by counting"
    )
    kept_predictions_days: int = Field(90, ge=1, description="Days that logged answers are kept")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Log level of the service; INFO logs each request"
    )
    max_body_bytes: int = Field(1_048_576, ge=1024, description="Maximum size of a request body")
    requests_per_second: int = Field(
        10_000, ge=1, description="Maximum requests per second, key and worker"
    )
    keys_max_age_seconds: int = Field(
        86_400,
        ge=1,
        description="Seconds that keys stay valid if the database does not answer",
    )
    platform_may_erase: bool = Field(
        False, description="Let keys of role platform erase learners, too"
    )
    keep_alive_seconds: int = Field(
        75, ge=1, le=3_600, description="Seconds after which an idle connection is closed"
    )
    service_host: str = Field("127.0.0.1", description="Address the service listens on")
    service_port: int = Field(8000, ge=1, le=65535, description="Port of the service")
    service_workers: int = Field(1, ge=1, le=64, description="Worker processes of the service")
    prefect_port: int = Field(4200, ge=1, le=65535, description="Port of the Prefect server")
    mlflow_port: int = Field(5001, ge=1, le=65535, description="Port of the MLflow UI")
    evidently_port: int = Field(8001, ge=1, le=65535, description="Port of the Evidently UI")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InvalidInput(_sentence(error)) from None

    @property
    def root(self) -> Path:
        """Absolute path of `home`."""
        return self.home.expanduser().resolve()

    @property
    def log_url(self) -> str:
        """SQLAlchemy URL of the log."""
        return self.database_url or f"sqlite:///{self.root / 'sensei.db'}"

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking URI."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        """Folder of MLflow's models, plots and reports, if no server stores them."""
        return self.root / "mlartifacts"

    @property
    def bundles(self) -> Path:
        """Folder of the bundles, one subfolder per digest."""
        return self.root / "bundles"

    @property
    def bentos(self) -> Path:
        """BentoML's store."""
        return self.root / "bentoml"

    @property
    def runs(self) -> Path:
        """Folder of the data that the steps of a run pass on."""
        return self.root / "runs"

    @property
    def evaluations(self) -> Path:
        """Folder of partial results from which evaluations continue; an erasure empties it."""
        return self.root / "evaluations"

    @property
    def replaced(self) -> Path:
        """Folder of PostgreSQL dumps made before a restore or an upgrade; an erasure empties it."""
        return self.root / "replaced"

    @property
    def suppression(self) -> Path:
        """Path of the suppression list; see `sensei.privacy.suppression`."""
        return self.root / FILE

    @property
    def emptied_by_erase(self) -> tuple[Path, ...]:
        """Folders of data derived from the log, which an erasure empties."""
        return self.runs, self.evaluations, self.replaced

    @property
    def reports(self) -> Path:
        """Folder of Data Docs and drift reports."""
        return self.root / "reports"

    @property
    def evidently(self) -> Path:
        """Evidently's workspace: drift reports and their dashboard."""
        return self.root / "evidently"

    @property
    def logs(self) -> Path:
        """Folder of the logs of the processes that `sensei up` starts, one file each."""
        return self.root / "logs"

    def environment(self) -> dict[str, str]:
        """Return variables that keep every library quiet, offline and inside `home`."""
        return {
            "SENSEI_HOME": str(self.root),
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(self.root / "bentoml"),
            "DO_NOT_TRACK": "true",
            "GX_ANALYTICS_ENABLED": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "PREFECT_HOME": str(self.root / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # In memory, a limit would be held forever if its server was killed.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
                "prefect.server.concurrency.lease_storage.filesystem"
            ),
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "OPENBLAS_NUM_THREADS": "1",
        }


def _sentence(error: ValidationError) -> str:
    """Return the first error as `VARIABLE: expected X, got Y; do Z`."""
    fault = error.errors(include_url=False)[0]
    expected = fault["msg"].removeprefix("Input should be ").split(",")[0]
    variable = PREFIX + str(fault["loc"][0]).upper()
    return f"{variable}: expected {expected}, got {fault['input']!r}; set it so, or unset it"
