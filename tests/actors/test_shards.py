"""A mapping in parts: nothing but a dict to whoever uses it, and no part of it is big."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sessiond.actors.shards import SHARD_MASK, Shards

KEYS = st.integers(-(2**70), 2**70) | st.text(max_size=3) | st.booleans() | st.tuples(st.integers(0, 3)) | st.none()


@given(st.lists(st.tuples(st.sampled_from(["put", "pop", "default"]), KEYS, st.integers())))
def test_it_holds_what_a_dict_would_hold(actions):
    shards, plain = Shards(), {}
    for action, key, value in actions:
        if action == "put":
            shards[key] = plain[key] = value
        elif action == "pop":
            assert shards.pop(key, None) == plain.pop(key, None)
        else:
            assert shards.setdefault(key, value) == plain.setdefault(key, value)
        assert shards.get(key) == plain.get(key)
    assert dict(shards) == plain
    assert len(shards) == len(plain)


def test_its_parts_share_many_keys_evenly():
    shards = Shards()
    for number in range(100_000):
        shards[f"{number:032x}"] = number
    fair = len(shards) / (SHARD_MASK + 1)
    assert max(map(len, shards.parts)) < 1.4 * fair
