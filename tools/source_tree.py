"""Files of a checkout and the packages that it installs."""

import subprocess
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Fault(NamedTuple):
    """One fault and its correction, printed as `file:line: fault: correction`."""

    file: str
    line: int
    fault: str
    correction: str

    def __str__(self) -> str:
        """Format the fault as compilers do, so that editors can jump to it."""
        return f"{self.file}:{self.line}: {self.fault}: {self.correction}"


def source_files(root: Path, *patterns: str) -> list[str]:
    """List the files that git tracks or would track, relative to `root`, in sorted order.

    Args:
        root: a git work tree.
        patterns: git path patterns such as `*.py`.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(  # noqa: S603 - fixed arguments
        command, cwd=root, check=True, capture_output=True, text=True
    ).stdout
    return sorted({name for name in listed.split("\0") if name and (root / name).is_file()})


def project(root: Path) -> dict[str, Any]:
    """Read pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text())


def installed_packages(root: Path) -> list[str]:
    """List the top-level packages that the wheel installs."""
    wheel = project(root)["tool"]["hatch"]["build"]["targets"]["wheel"]
    return [str(name) for name in wheel["packages"]]


def report(faults: list[Fault], *, count_only: bool) -> int:
    """Print the faults, or their number, and return the exit status."""
    lines: list[object] = [len(faults)] if count_only else [*faults]
    for line in lines:
        print(line)
    return 1 if faults else 0
