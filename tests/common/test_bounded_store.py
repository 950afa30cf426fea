"""Values that are kept: bounded in number, bytes and time."""

from serve_app.common.bounded_store import BoundedStore, StoreLimits


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def store_of(entries: int = 100, size: int = 1000, clock: Clock | None = None) -> BoundedStore[str, str]:
    return BoundedStore(StoreLimits(entries, size, 60), clock or Clock())


def stored_keys(store: BoundedStore[str, str], keys: str) -> str:
    return "".join(key for key in keys if store.get(key) is not None)


def test_the_oldest_goes_beyond_the_entries() -> None:
    store = store_of(entries=2)
    for key in "abc":
        assert store.put(key, key.upper(), 1)
    assert (stored_keys(store, "abc"), store.get("b")) == ("bc", "B")


def test_the_oldest_go_beyond_the_bytes() -> None:
    store = store_of()
    for key in "abc":
        assert store.put(key, "", 300)
    assert store.put("d", "", 700)
    assert stored_keys(store, "abcd") == "cd"


def test_what_is_larger_than_all_is_not_kept_and_drops_nothing() -> None:
    store = store_of()
    store.put("a", "", 1000)
    assert not store.put("b", "", 1001)
    assert stored_keys(store, "ab") == "a"


def test_without_entries_nothing_is_kept() -> None:
    assert not store_of(entries=0).put("a", "", 1)


def test_what_is_deleted_leaves_room() -> None:
    store = store_of()
    store.put("a", "", 500)
    store.put("b", "", 500)
    assert store.delete("a")
    assert not store.delete("a")
    store.put("c", "", 500)
    assert stored_keys(store, "abc") == "bc"


def test_a_value_put_anew_replaces_the_old_one_and_its_size() -> None:
    clock = Clock()
    store = store_of(clock=clock)
    store.put("a", "old", 600)
    store.put("b", "", 400)
    clock.now = 50.0
    store.put("a", "new", 600)
    assert stored_keys(store, "ab") == "ab"
    clock.now = 70.0  # the first one's time is over
    assert (stored_keys(store, "ab"), store.get("a")) == ("a", "new")


def test_all_are_forgotten_in_time() -> None:
    clock = Clock()
    store = store_of(clock=clock)
    store.put("a", "", 500)
    clock.now = 30.0
    store.put("b", "", 500)
    assert (store.age_s("a"), store.age_s("b"), store.age_s("c")) == (30.0, 0.0, None)
    clock.now = 60.0
    assert (stored_keys(store, "ab"), store.age_s("a"), store.delete("a")) == ("b", None, False)
    clock.now = 89.9
    assert stored_keys(store, "b") == "b"
    clock.now = 90.0
    assert not store.delete("b")
    assert store.put("c", "", 1000)
    assert stored_keys(store, "c") == "c"
