"""Drift reference of a version: the distribution of its inputs and answers at training time.

Each column is shuffled separately, so that no row belongs to a learner. Drift compares columns.
"""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from training.tracking.registry import Registry, stored

if TYPE_CHECKING:
    import pandas as pd

TAG = "reference"
"""Tag of a version: path of its drift reference among the artifacts of its run."""

MOST_ROWS = 10_000


def store_reference(
    registry: Registry, run_id: str, model_name: str, version: str, window: "pd.DataFrame"
) -> None:
    """Store the drift reference of a version with its run.

    Args:
        registry: holds the version.
        run_id: run that trained the version.
        model_name: `recommendation` or `difficulty`.
        version: number of the version.
        window: one row per learner, each column shuffled separately; at most `MOST_ROWS` rows are
            stored.

    Raises:
        StorageUnavailable: the file cannot be written.
    """
    path = f"reference/{model_name}.parquet"
    with TemporaryDirectory() as folder, stored():
        file = Path(folder) / Path(path).name
        window.head(MOST_ROWS).to_parquet(file, index=False)
        registry.client.log_artifact(run_id, str(file), str(Path(path).parent))
    registry.tag(model_name, version, {TAG: path})


def load_reference(registry: Registry, model_name: str, version: str) -> "pd.DataFrame | None":
    """Return the drift reference of a version; None if it has none or the file is missing."""
    import mlflow
    import pandas as pd
    from mlflow.exceptions import MlflowException

    try:
        entry = registry.client.get_model_version(model_name, version)
        if TAG not in entry.tags:
            return None
        with TemporaryDirectory() as folder:
            path = mlflow.artifacts.download_artifacts(
                run_id=entry.run_id,
                artifact_path=entry.tags[TAG],
                dst_path=folder,
                tracking_uri=registry.tracking_uri,
            )
            return pd.read_parquet(path)
    except (MlflowException, OSError) as error:
        logging.getLogger(__name__).warning(
            "reference of %s %s: expected a file, got %s", model_name, version, error
        )
        return None
