"""A check takes a whole store for whole, and finds what is wrong with any other."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from store_changes import image
from store_history import History
from store_process import loaded

from sessiond.actors.history import STATE, begun, noted
from sessiond.actors.store import StoreError
from sessiond.cli import main
from sessiond.stores.backup import backup
from sessiond.stores.check import MOST_PROBLEMS, check
from sessiond.stores.log import LIVE, encode

STRANGER = noted(begun("ringing", 0, 1.0), STATE["active"], 77, 2.0)
"""A history by an author that nobody knows."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The file of a whole store, for copies."""
    folder = tmp_path_factory.mktemp("whole")
    with loaded(folder / "store.db", History()) as store:
        store.wait_for("settled", 20)
        store.close()
    backup(folder / "store.db", folder / "copy.db")
    return (folder / "copy.db").read_bytes()


@pytest.fixture
def path(whole, tmp_path):
    (tmp_path / "store.db").write_bytes(whole)
    return tmp_path / "store.db"


def changed(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(*statement) if isinstance(statement, tuple) else connection.execute(statement)


def test_a_whole_store_is_whole_and_counted(path):
    findings = check(path)
    assert findings.problems == []
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (findings.records,)
        assert connection.execute("SELECT max(number) FROM records").fetchone()[0] <= findings.last
    assert findings.live
    assert findings.records


def test_a_store_is_whole_at_any_moment(tmp_path):
    """While it is in use, and as a kill has left it."""
    history = History()
    with loaded(tmp_path / "store.db", history) as store:
        store.wait_for("settled", 5)
        assert not check(tmp_path / "store.db").problems
        store.wait_for("settled", 5)
        store.kill()
    findings = check(tmp_path / "store.db")
    assert not findings.problems
    assert findings.last >= history.settled


FIRST = "number = (SELECT min(number) FROM records)"
LAST = "number = (SELECT max(number) FROM records)"
PROBLEMS = {
    "an image": (
        ["UPDATE sessions SET image = x'00' WHERE seq = (SELECT min(seq) FROM sessions)"],
        "its image cannot be read",
    ),
    "a group of the log": (["INSERT INTO log VALUES (900000000, x'c1')"], "corrupt"),
    "positions": (
        [
            "INSERT INTO log VALUES (900000000, x'90')",
            ("INSERT INTO log VALUES (900000001, ?)", (encode([(LIVE, 1, image(1, 1, 1.0))] * 3),)),
        ],
        "begin before",
    ),
    "metadata": ([f"UPDATE records SET metadata = '{{' WHERE {FIRST}"], "cannot be read"),
    "a history": ([f"UPDATE records SET timeline = x'00' WHERE {LAST}"], "history cannot be read"),
    "an author": (
        [(f"UPDATE records SET timeline = ? WHERE {FIRST}", (STRANGER,))],
        "author 77 of its history is unknown",
    ),
    "a record of a live session": (
        [f"UPDATE records SET seq = (SELECT min(seq) FROM sessions) WHERE {FIRST}"],
        "lives",
    ),
    "an index": (
        [
            "PRAGMA writable_schema = 1",
            "UPDATE sqlite_schema SET sql = replace(sql, 'ended_at', 'created_at') WHERE name = 'records_ended'",
        ],
        "records_ended",
    ),
}


@pytest.mark.parametrize(("statements", "text"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_is_wrong_is_found(path, statements, text):
    changed(path, *statements)
    assert any(text in problem for problem in check(path).problems)


def test_no_more_problems_are_told_than_anybody_reads(path):
    changed(path, "UPDATE records SET metadata = '{'")
    assert len(check(path).problems) == MOST_PROBLEMS


@pytest.mark.parametrize("page", [1, 3, 7, 20])
def test_a_page_of_rubbish_is_found(path, page):
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(b"\xff" * 4096)
    assert check(path).problems


def test_what_is_no_store_is_said_to_be_none(path, tmp_path):
    with pytest.raises(StoreError, match="no such store"):
        check(tmp_path / "nothing.db")
    (tmp_path / "text.db").write_text("no database at all " * 100)
    with pytest.raises(StoreError, match="no database"):
        check(tmp_path / "text.db")
    changed(tmp_path / "other.db", "CREATE TABLE t (x)")
    with pytest.raises(StoreError, match="no store of sessiond"):
        check(tmp_path / "other.db")
    changed(path, "PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="schema 99"):
        check(path)


# The commands


def test_the_command_counts_and_its_exit_code_tells(path, capsys):
    assert main(["check", str(path)]) == 0
    findings = check(path)
    text = " ".join(capsys.readouterr().out.split())
    assert f"{path} is whole live sessions {findings.live:,} call records {findings.records:,}" in text
    changed(path, "UPDATE records SET metadata = '{' WHERE number = (SELECT min(number) FROM records)")
    assert main(["check", str(path)]) == 1
    said = capsys.readouterr()
    assert f"{path} is not whole" in said.out
    assert "cannot be read" in said.err
    assert main(["check", str(path.with_name("nothing.db"))]) == 1
    assert capsys.readouterr().err.startswith("sessiond: ")


def test_the_store_of_a_backup_is_that_of_the_configuration(path, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SESSIOND_CONFIG", raising=False)
    config = tmp_path / "sessiond.toml"
    config.write_text(f'[store]\nkind = "sqlite"\npath = "{path}"\n')
    assert main(["backup", "--config", str(config), str(tmp_path / "copy.db")]) == 0
    assert not check(tmp_path / "copy.db").problems
    assert f"{tmp_path / 'copy.db'} is whole" in capsys.readouterr().out
    assert main(["backup", "--config", str(config), str(tmp_path / "copy.db")]) == 1
    assert main(["backup", "--config", str(config), "--replace", str(tmp_path / "copy.db")]) == 0
    assert main(["backup", str(tmp_path / "another.db")]) == 2
    assert "keeps nothing in a file; name the store by --store or --config" in capsys.readouterr().err


def test_the_store_of_a_check_is_that_of_the_configuration_unless_it_is_named(path, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SESSIOND_CONFIG", raising=False)
    config = tmp_path / "sessiond.toml"
    config.write_text(f'[store]\nkind = "sqlite"\npath = "{path}"\n')
    assert main(["check", "--config", str(config)]) == 0
    assert f"{path} is whole" in capsys.readouterr().out
    assert main(["check", "--config", str(config), str(tmp_path / "nothing.db")]) == 1
    assert main(["check"]) == 2
    assert "keeps nothing in a file; name the store by PATH or --config" in capsys.readouterr().err


def test_a_backup_into_a_folder_that_is_not_there_names_it(path, tmp_path, capsys):
    copy = tmp_path / "nowhere" / "copy.db"
    assert main(["backup", "--store", str(path), str(copy)]) == 1
    assert capsys.readouterr().err == f"sessiond: {copy}: there is no folder {copy.parent}; make it first\n"
