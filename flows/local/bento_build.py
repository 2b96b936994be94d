"""Build of a Bento: a self-contained folder with the service and one bundle."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from sensei.errors import IncompatibleBundle, StorageUnavailable

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("sensei", "features", "serving")
"""Packages that the service imports; `bentofile.yaml` includes the same."""


def package(bundle: Path, bento_home: Path) -> str:
    """Build a Bento that holds `bundle`, without touching the checkout or the network.

    Args:
        bundle: folder of a bundle, named by its digest.
        bento_home: BentoML's store; made if absent.

    Returns:
        The Bento's tag, `sensei:<version>`.

    Raises:
        IncompatibleBundle: the folder holds no bundle.
        StorageUnavailable: BentoML could not build or write; the message ends with its last line.
    """
    if not (bundle / "manifest.json").is_file():
        raise IncompatibleBundle(
            f"bundle: expected a folder with manifest.json, got {bundle}; train first"
        )
    bento_home.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="sensei-bento-") as folder:
        _stage(bundle, Path(folder))
        built = subprocess.run(  # noqa: S603 - our own interpreter and arguments
            [sys.executable, "-m", "bentoml", "build", "--output", "tag", folder],
            env=os.environ | {"BENTOML_HOME": str(bento_home), "BENTOML_DO_NOT_TRACK": "True"},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    tags = [line for line in built.stdout.splitlines() if line.startswith("__tag__:")]
    if built.returncode != 0 or not tags:
        reason = (built.stderr.strip() or built.stdout.strip() or "no output").splitlines()[-1]
        raise StorageUnavailable(
            f"bento: expected `bentoml build` to succeed, got {reason}; check space in {bento_home}"
        )
    return tags[-1].removeprefix("__tag__:")


def _stage(bundle: Path, folder: Path) -> None:
    for name in ROOMS:
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
    shutil.copytree(bundle, folder / "models" / bundle.name)
    for file in ("bentofile.yaml", "requirements-serving.lock"):
        shutil.copy(ROOT / file, folder)
