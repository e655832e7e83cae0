"""The pages of the documentation, taken apart."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["ROOT", "blocks", "code", "page", "section", "table"]

ROOT = Path(__file__).parents[2]


def page(name: str) -> str:
    """The text of a page, by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its rank or a higher one."""
    rank = heading.index(" ")
    start = re.search(rf"^{re.escape(heading)}$", text, re.MULTILINE)
    assert start, f"there is no {heading!r}"
    prose = re.sub(r"^```.*?^```$", lambda fenced: "`" * len(fenced.group()), text, flags=re.MULTILINE | re.DOTALL)
    following = re.compile(rf"^#{{1,{rank}}} ", re.MULTILINE).search(prose, start.end())
    return text[start.end() : following and following.start()]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def table(text: str, first: str) -> list[list[str]]:
    """The cells of the table whose first column has this header, row by row, without the header."""
    rows = re.search(rf"^\| {re.escape(first)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert rows, f"there is no table of {first!r}"
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.group(1).splitlines()]


def code(cell: str) -> list[str]:
    """What a cell shows as code."""
    return re.findall(r"`([^`]*)`", cell)
