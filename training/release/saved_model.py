"""Export for TensorFlow Serving: `<folder>/<model>/<version>/saved_model.pb`.

If the model has a hidden state, the signature also takes `state` and `event` and answers
`next_state`. The caller keeps the state.
"""

import tempfile
from pathlib import Path

from sensei.errors import InvalidInput, StorageUnavailable
from sensei.native_stderr import without_lines
from training.release.export import EXPORT_NOISE
from training.tracking.registry import Registry


def export_saved_model(
    registry: Registry, model_name: str, version: str | None, folder: Path
) -> Path:
    """Write a version atomically.

    Args:
        registry: holds the version.
        model_name: `recommendation` or `difficulty`.
        version: its number; None for the champion.
        folder: folder of all models; made if absent.

    Returns:
        The version's folder, whose name is the version.

    Raises:
        InvalidInput: there is no such version, or it is in the folder already.
        StorageUnavailable: the folder cannot be written.
    """
    number = version or registry.champion(model_name)
    if number is None or not registry.exists(model_name, number):
        requested = f"version {version}" if version else "its champion"
        raise InvalidInput(
            f"--version: expected one of {model_name} in the registry, got {requested}; "
            "see `sensei models`"
        )
    target = folder / model_name / number
    if target.exists():
        raise InvalidInput(f"--out: expected no {target} yet, got one; remove it, or name another")
    model = registry.load(model_name, number)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # otherwise a server that watches the folder could load an incomplete version
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=target.parent) as temporary:
            staging = Path(temporary) / number
            with without_lines(*EXPORT_NOISE):
                model.export(str(staging), format="tf_saved_model", verbose=False)
            staging.rename(target)
    except OSError as error:
        raise StorageUnavailable(
            f"--out: expected a folder that can be written, got {folder} ({error.strerror}); "
            "name another, or free some space"
        ) from error
    return target
