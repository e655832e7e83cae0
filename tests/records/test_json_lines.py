"""A file of lines holds each of them whole, whatever happens to the process or the disk."""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiond.records import json_lines
from sessiond.records.sink import SinkError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "records.jsonl"


def test_lines_are_added_at_the_end(path):
    json_lines.append(path, [b"1", b"2"])
    json_lines.append(path, [b"3"])
    assert path.read_bytes() == b"1\n2\n3\n"


def test_nobody_else_may_read_who_called_whom(path):
    json_lines.append(path, [b"1"])
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


@pytest.mark.parametrize("torn", [b"", b'{"id":', b"\n", b'1\n2\n{"id"', b"1\n"])
def test_what_a_crash_has_left_of_a_line_goes_at_the_start(path, torn):
    path.write_bytes(torn)
    json_lines.prepare(path)
    assert path.read_bytes() == torn[: torn.rfind(b"\n") + 1]


@given(st.lists(st.binary(min_size=1, max_size=30).map(bytes.hex).map(str.encode), min_size=1), st.data())
def test_a_file_that_is_cut_anywhere_keeps_its_whole_lines(tmp_path_factory, lines, data):
    path = tmp_path_factory.mktemp("torn") / "x"
    json_lines.append(path, lines)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    os.truncate(path, cut)
    json_lines.append(path, [b"next"])
    kept = whole[:cut].count(b"\n")
    assert path.read_bytes().splitlines() == [*lines[:kept], b"next"]


def test_a_large_file_is_not_read_as_a_whole(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)  # no block of it is on the disk
        file.seek(0, os.SEEK_END)
        file.write(b'\n{"id"')
    json_lines.prepare(path)
    assert path.stat().st_size == (1 << 40) + 1


def test_what_is_no_file_of_lines_is_left_alone(path):
    path.write_bytes(b"x" * (json_lines.MAX_LINE + 1))
    with pytest.raises(SinkError, match="cannot be written: it holds something else than lines"):
        json_lines.prepare(path)
    assert path.stat().st_size == json_lines.MAX_LINE + 1


def test_a_pipe_is_refused_rather_than_waited_for(path):
    os.mkfifo(path)
    with pytest.raises(SinkError, match="is no regular file"):
        json_lines.prepare(path)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SinkError, match=r"cannot be written: No such file or directory"):
        json_lines.prepare(tmp_path / "nowhere" / "x.jsonl")


def test_a_full_disk_leaves_no_half_line(path, monkeypatch):
    json_lines.append(path, [b"1"])
    write = FileIO.write
    left = [3]

    class SmallDisk(FileIO):
        def write(self, data):
            if not left[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = write(self, bytes(data[: left[0]]))
            left[0] -= written
            return written

    monkeypatch.setattr(json_lines, "FileIO", SmallDisk)
    with pytest.raises(OSError, match="No space left"):
        json_lines.append(path, [b"22", b"333"])
    assert path.read_bytes() == b"1\n"
    left[0] = 100
    json_lines.append(path, [b"22", b"333"])
    assert path.read_bytes() == b"1\n22\n333\n"


def test_lines_are_on_the_disk_before_anybody_relies_on_them(path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda number: synced.append(stat.S_ISDIR(os.fstat(number).st_mode)) or fsync(number)
    )
    json_lines.append(path, [b"1"])
    assert synced == [False, True], "the lines, and the name of the new file"
    json_lines.append(path, [b"2"])
    assert synced == [False, True, False]
