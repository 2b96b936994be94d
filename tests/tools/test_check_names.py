from pathlib import Path

from tools.check_names import name_faults, repeated_classes, repeated_files
from tools.source_tree import ROOT, source_files


def test_a_file_name_in_two_folders_is_refused_at_both_places() -> None:
    repeated = repeated_files(
        ["serving/windows.py", "monitoring/drift/windows.py", "serving/engine/engine.py"]
    )
    faults = name_faults({"file name": repeated})
    assert [str(fault) for fault in faults] == [
        "serving/windows.py:1: file name windows.py also in monitoring/drift/windows.py:1: "
        "rename all but one",
        "monitoring/drift/windows.py:1: file name windows.py also in serving/windows.py:1: "
        "rename all but one",
    ]


def test_names_that_python_and_pytest_fix_may_repeat() -> None:
    fixed = ("__init__.py", "__main__.py", "conftest.py")
    assert repeated_files([f"{folder}/{name}" for folder in "ab" for name in fixed]) == {}


def test_a_public_class_name_in_two_modules_is_refused() -> None:
    sources = {"a.py": "class Row: ...", "b.py": "\nclass Row: ...\nclass Column: ..."}
    assert repeated_classes(sources) == {"Row": [("a.py", 1), ("b.py", 2)]}


def test_private_and_nested_classes_may_repeat() -> None:
    text = "class _Row: ...\nclass {name}:\n    class Config: ..."
    sources = {f"{name}.py": text.format(name=name) for name in ("A", "B")}
    assert repeated_classes(sources) == {}


def test_the_checked_files_are_those_of_the_checkout() -> None:
    files = source_files(ROOT, "*.py")
    assert str(Path(__file__).relative_to(ROOT)) in files
    assert not any(file.startswith(".venv") for file in files)
