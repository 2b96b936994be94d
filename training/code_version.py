"""Which code made a version: the commit where there is one, and a digest of the sources."""

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
    """The code as it stood.

    Attributes:
        digest: SHA-256 of all source files and their paths.
        commit: of the checkout's HEAD; empty outside a checkout. The digest tells whether files
            were changed since.
    """

    digest: str
    commit: str


@cache
def code_version(root: Path = ROOT) -> CodeVersion:
    """Read the version of the code below `root`; once a process, as its code does not change."""
    return CodeVersion(digest_of_sources(root), _commit(root))


def digest_of_sources(root: Path, packages: tuple[str, ...] = PACKAGES) -> str:
    """SHA-256 of the source files of some packages and of their paths."""
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
    asked = [git, "-C", str(root), "rev-parse", "HEAD"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip()
