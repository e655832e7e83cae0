"""The file of records, and when another one is begun."""

from __future__ import annotations

import os

import pytest
from kept_records import WALL
from manual_clock import ManualClock

from sessiond.records.file_sink import FileWriter
from sessiond.records.settings import FileSink
from sessiond.records.sink import Failed, Interrupted, SinkError

DAY = 86_400


@pytest.fixture
def path(tmp_path):
    return tmp_path / "records.jsonl"


@pytest.fixture
def writer(path, clock):
    def writer(**settings):
        made = FileWriter(FileSink(name="x", path=str(path), **settings), clock)
        made.prepare()
        return made

    return writer


def files(path):
    """What is in the folder, the newest last: the file itself has the first name of all."""
    found = sorted(path.parent.iterdir(), key=lambda each: (each == path, each.name))
    return {each.name: each.read_text() for each in found}


def test_each_record_is_a_line(writer, path):
    sink = writer()
    sink.deliver([b'{"id":"a"}', b'{"id":"b"}'])
    sink.deliver([b'{"id":"c"}'])
    assert path.read_text() == '{"id":"a"}\n{"id":"b"}\n{"id":"c"}\n'


def test_a_file_that_would_become_too_large_is_renamed(writer, path):
    sink = writer(rotate_bytes=10)
    for text in (b"1111", b"2222", b"3333", b"4444"):
        sink.deliver([text])
    assert files(path) == {
        "records-20231114T221320Z-0000.jsonl": "1111\n2222\n",
        "records.jsonl": "3333\n4444\n",
    }


def test_names_of_one_second_are_told_apart_and_nothing_is_overwritten(writer, path):
    sink = writer(rotate_bytes=1)
    for text in (b"1", b"2", b"3"):
        sink.deliver([text])
    assert [*files(path).values()] == ["1\n", "2\n", "3\n"]


def test_a_batch_that_is_larger_than_a_file_may_be_has_one_of_its_own(writer, path):
    sink = writer(rotate_bytes=3)
    sink.deliver([b"11111", b"22222"])
    sink.deliver([b"3"])
    assert [*files(path).values()] == ["11111\n22222\n", "3\n"]


def test_a_file_of_yesterday_is_renamed_before_the_first_record_of_today(writer, path, clock):
    sink = writer(rotate_seconds=DAY)
    sink.deliver([b"1"])
    midnight = (WALL // DAY + 1) * DAY
    os.utime(path, (midnight - 1, midnight - 1))
    clock.advance(midnight - WALL - 0.5)
    sink.deliver([b"2"])
    os.utime(path, (midnight - 1, midnight - 1))
    clock.advance(0.5)
    sink = writer(rotate_seconds=DAY)  # a restart makes no difference
    sink.deliver([b"3"])
    assert files(path) == {"records-20231115T000000Z-0000.jsonl": "1\n2\n", "records.jsonl": "3\n"}


def test_only_so_many_old_files_are_kept(writer, path, clock):
    other = path.with_name("records-of-others.jsonl")
    other.write_text("0\n")
    sink = writer(rotate_bytes=1, keep_files=2)
    for number in range(1, 6):
        sink.deliver([str(number).encode()])
        clock.advance(10)
    assert sorted(files(path).values()) == ["0\n", "3\n", "4\n", "5\n"]


def test_a_file_that_somebody_has_moved_away_is_begun_anew(writer, path):
    sink = writer()
    sink.deliver([b"1"])
    path.rename(path.with_name("taken"))
    sink.deliver([b"2"])
    assert files(path) == {"taken": "1\n", "records.jsonl": "2\n"}


def test_a_disk_that_does_not_take_it_is_a_failure_that_may_pass(writer, path):
    sink = writer()
    path.unlink()
    path.mkdir()
    with pytest.raises(Failed, match="Is a directory"):
        sink.deliver([b"1"])
    path.rmdir()
    sink.deliver([b"1"])
    assert path.read_text() == "1\n"


def test_a_folder_that_cannot_be_written_is_told_at_the_start(path, writer):
    path.parent.rmdir()
    with pytest.raises(SinkError, match=r"records.jsonl cannot be written"):
        writer()


def test_once_interrupted_it_writes_nothing(writer, path):
    sink = writer()
    sink.interrupt()
    with pytest.raises(Interrupted):
        sink.deliver([b"1"])
    assert path.read_text() == ""
    sink.close()


def test_intervals_are_of_no_matter_without_a_length(path):
    sink = FileWriter(FileSink(name="x", path=str(path), rotate_bytes=0), ManualClock(wall=9e9))
    sink.prepare()
    sink.deliver([b"1"])
    sink.deliver([b"2"])
    assert path.read_text() == "1\n2\n"
