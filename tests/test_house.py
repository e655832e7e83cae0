"""The house stands as setup.cfg says: what packaging, links and imports would otherwise get wrong in silence."""

from __future__ import annotations

import ast
import configparser
import os
import re
from pathlib import Path

import pytest

import sessiond._version

ROOT = Path(__file__).parent.parent
ROOMS = ("actors", "transport", "metrics", "stores", "records")
SOURCES = sorted(path for top in ("src", *ROOMS) for path in (ROOT / top).rglob("*.py"))

config = configparser.ConfigParser()
config.read(ROOT / "setup.cfg")


def folders() -> dict[str, str]:
    """The folder of each package that setup.cfg lists, by the longest entry of package_dir that fits."""
    mapped = dict(line.split(" = ") for line in config["options"]["package_dir"].split("\n") if line)
    found = {}
    for package in config["options"]["packages"].split():
        top = max((each for each in mapped if f"{package}.".startswith(f"{each}.")), key=len)
        found[package] = (mapped[top] + package.removeprefix(top).replace(".", "/")).strip()
    return found


def test_every_package_is_listed():
    """A package that setup.cfg does not list is missing from every wheel, and nothing else would say so."""
    assert sorted(folders().values()) == sorted({str(path.parent.relative_to(ROOT)) for path in SOURCES})
    assert all((ROOT / folder / "__init__.py").exists() for folder in folders().values())


@pytest.mark.parametrize("room", ROOMS)
def test_each_link_leads_to_its_room(room):
    """An sdist has no links and needs none; a checkout has one for each room."""
    link = ROOT / "src" / "sessiond" / room
    assert link.resolve() == ROOT / room or not (link.exists() or link.is_symlink())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_name_the_whole_way(path):
    """A relative import across rooms gives type checkers two identities of one class; a bare room is no package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            assert node.module.split(".")[0] not in ROOMS, f"line {node.lineno}: import from sessiond.{node.module}"
        elif isinstance(node, ast.Import):
            for name in node.names:
                assert name.name.split(".")[0] not in ROOMS, f"line {node.lineno}: import sessiond.{name.name}"


def test_the_changelog_begins_with_this_version():
    """A release whose changes are not told is not a release."""
    newest = re.search(r"^## \[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest.group(1) == sessiond._version.__version__


@pytest.mark.parametrize("name", ["serve", "test", "check", "benchmarks", "budgets", "crash", "beyond-memory"])
def test_each_script_can_be_run(name):
    """Executable bits get lost on the way through archives and file shares."""
    assert os.access(ROOT / "scripts" / name, os.X_OK)
