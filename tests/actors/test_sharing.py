"""Metadata holds one copy of what is the same in many sessions, and what is not costs nothing."""

from __future__ import annotations

from sessiond.actors.sharing import MAX_KEYS, MAX_VALUES, SharedValues


def fresh(text: str) -> str:
    """A copy that is not the same string."""
    return text.encode().decode()


def test_equal_values_become_the_same_string():
    shared = SharedValues()
    first, second = ({"codec": fresh("opus"), "tries": 7, "recorded": True} for _ in range(2))
    shared.share(first)
    shared.share(second)
    assert first == second == {"codec": "opus", "tries": 7, "recorded": True}
    assert second["codec"] is first["codec"]


def test_a_key_whose_values_are_each_sessions_own_is_no_longer_looked_at():
    shared = SharedValues()
    for number in range(MAX_VALUES + 1):
        shared.share({"account": f"account {number}"})
    late = fresh("account 0")
    metadata = {"account": late}
    shared.share(metadata)
    assert metadata["account"] is late
    assert sum(map(len, shared._of.values())) == 0


def test_keys_that_somebody_makes_up_are_not_all_remembered():
    shared = SharedValues()
    for number in range(2 * MAX_KEYS):
        shared.share({f"key {number}": "value"})
    assert len(shared._of) == MAX_KEYS
