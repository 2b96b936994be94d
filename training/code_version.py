"""Code version of a model: the commit if there is one, and a digest of the sources."""

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PACKAGES = ("sensei", "features", "expectations", "monitoring", "serving", "training", "flows")

_SOURCES = (".py", ".json")


@dataclass(frozen=True)
class CodeVersion:
    """Version of the code.

    Attributes:
        digest: SHA-256 of all source files and their paths.
        commit: HEAD of the checkout; empty outside a checkout. The digest shows if files differ
            from the commit.
    """

    digest: str
    commit: str


@cache
def code_version(root: Path = ROOT) -> CodeVersion:
    """Read the version of the code below `root`; cached, as it is constant in a process."""
    return CodeVersion(digest_of_sources(root), _commit(root))


def digest_of_sources(root: Path, packages: tuple[str, ...] = PACKAGES) -> str:
    """Return the SHA-256 of the source files of some packages and of their paths."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in _SOURCES and path.is_file():
                content = path.read_bytes()
                digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
                digest.update(content)
    return digest.hexdigest()


def _commit(root: Path) -> str:
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return ""
    command = [git, "-C", str(root), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip()
