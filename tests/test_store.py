"""The store: what is kept, what is found damaged, who may work on what, and what a kill leaves behind."""

import errno
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mcore import store as module
from mcore.errors import McoreError
from mcore.store import Store

HOME = Path(__file__).resolve().parent.parent
KEY, OTHER, THIRD = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", limit_bytes=1_000_000)


def blob(store, key=KEY) -> Path:
    return store.root / "blobs" / key[:2] / key


def make_folder(store, key=KEY, name="model", content=b"weights" * 100) -> Path:
    folder = store.work(key) / name
    (folder / "deeper").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(content)
    (folder / "deeper" / "config.json").write_text("{}")
    return folder


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def python(code: str, *arguments) -> subprocess.Popen:
    """A process of its own that runs ``code`` with a store open on ``sys.argv[1]``."""
    code = "import os, sys, time\nfrom mcore.store import Store\nstore = Store(sys.argv[1])\n" + code
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


# What is put is there


def test_what_is_put_is_found_by_another_store_on_the_same_folder(store):
    store.put(KEY, b"logits", "responses", {"t": 0.5})
    again = Store(store.root)
    assert again.get(KEY) == b"logits"
    (entry,) = again.entries("responses")
    assert (entry.key, entry.kind, entry.bytes, entry.about) == (KEY, "responses", 6, {"t": 0.5})
    assert again.entries("models") == []


def test_putting_twice_is_putting_once_and_the_last_content_counts(store):
    for data in (b"old", b"new", b"new"):
        store.put(KEY, data, "responses")
    assert store.get(KEY) == b"new"
    assert store.size() == 3


def test_many_are_read_at_once_and_those_that_are_missing_are_left_out(store):
    keys = [f"{number:032x}" for number in range(1500)]
    for key in keys[:40]:
        store.put(key, key.encode(), "responses")
    assert store.get_many(keys) == {key: key.encode() for key in keys[:40]}
    assert store.has(keys) == set(keys[:40])


def test_nothing_is_found_under_a_key_that_was_dropped(store):
    store.put(KEY, b"logits", "responses")
    store.drop(KEY)
    assert store.get(KEY) is None
    assert not blob(store).exists()
    assert store.size() == 0


@pytest.mark.parametrize("key", ["", "short", "../../etc/passwd", "A" * 32, "a" * 65, "a" * 31 + "/"])
def test_what_is_not_a_key_is_refused_everywhere(store, key):
    for call in (store.get, store.folder, store.work, store.drop, store.drop_work, store.claim):
        with pytest.raises(ValueError, match="not a key"):
            call(key)
    with pytest.raises(ValueError, match="not a key"):
        store.put(key, b"", "responses")


def test_the_environment_names_the_folder_and_the_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("MCORE_STORE", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("MCORE_STORE_LIMIT", "1234")
    assert (Store().root, Store().limit_bytes) == (tmp_path / "elsewhere", 1234)
    monkeypatch.setenv("MCORE_STORE_LIMIT", "5 GB")
    with pytest.raises(McoreError, match="number of bytes"):
        Store()


# What is damaged


def flip(path: Path, place: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: flip(path, -1),
        lambda path: flip(path, 0),
        lambda path: os.truncate(path, 40),
        lambda path: os.truncate(path, 0),
        lambda path: path.unlink(),
    ],
    ids=["flipped", "flipped seal", "cut short", "emptied", "missing"],
)
def test_a_damaged_entry_is_found_and_dropped(store, harm):
    store.put(KEY, b"logits" * 10, "responses")
    store.put(OTHER, b"whole", "responses")
    harm(blob(store))
    assert store.get_many([KEY, OTHER]) == {OTHER: b"whole"}
    assert store.has([KEY, OTHER]) == {OTHER}
    assert not blob(store).exists()
    store.put(KEY, b"again", "responses")
    assert store.get(KEY) == b"again"


def test_an_entry_that_took_the_place_of_another_is_found(store):
    store.put(KEY, b"logits of one", "responses")
    store.put(OTHER, b"logits of two", "responses")
    blob(store).write_bytes(blob(store, OTHER).read_bytes())
    assert store.get(KEY) is None


@pytest.mark.parametrize("fresh", [False, True], ids=["same process", "fresh process"])
@pytest.mark.parametrize(
    "harm",
    [
        lambda path: flip(path, 5),
        lambda path: os.truncate(path, 5),
        lambda path: path.unlink(),
    ],
    ids=["flipped", "cut short", "missing"],
)
def test_a_damaged_folder_is_found_and_dropped(store, harm, fresh):
    place = store.put_folder(KEY, make_folder(store), "model")
    assert store.folder(KEY) == place
    harm(place / "model.safetensors")
    reader = Store(store.root) if fresh else store
    assert reader.folder(KEY) is None
    assert not place.exists()
    assert reader.put_folder(KEY, make_folder(store, name="anew"), "model") == reader.folder(KEY) == place


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(20_000))


def holes(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[4096:] = b"\xff" * len(raw[4096:])
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "harm", [garbage, holes, lambda path: os.truncate(path, 5000), lambda path: os.truncate(path, 0)],
    ids=["garbage", "holes", "cut short", "emptied"],
)  # fmt: skip
def test_a_damaged_index_is_set_aside_and_begun_anew(store, harm, caplog):
    index = store.root / "index.sqlite"
    for n in range(60):
        store.put(f"{n:032x}", b"x", "responses", {"some": "thing" * 60})
    store._index._connection.close()  # now all is in the index and nothing in its journal
    with caplog.at_level(logging.WARNING):
        harm(index)
        fresh = Store(store.root)
    assert fresh.get_many([f"{n:032x}" for n in range(60)]) == {}
    fresh.put(KEY, b"logits", "responses")
    assert Store(store.root).get(KEY) == b"logits"
    if harm in (garbage, holes):
        assert "begun anew" in caplog.text
        assert index.with_name("index.sqlite.damaged").exists()


def test_an_index_with_any_byte_changed_never_ends_in_a_traceback(store):
    for n in range(50):
        store.put(f"{n:032x}", b"x" * n, "responses", {"n": n})
    store._index._connection.close()
    index = store.root / "index.sqlite"
    whole, chance = index.read_bytes(), random.Random(1)
    for _ in range(60):
        raw = bytearray(whole)
        for _ in range(chance.choice((1, 20))):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        index.write_bytes(raw)
        harmed = Store(store.root)
        harmed.entries(), harmed.size(), harmed.get_many([f"{n:032x}" for n in range(50)])
        harmed.put(KEY, b"logits", "responses")
        assert harmed.get(KEY) == b"logits"
        harmed._index._connection.close()


def test_a_store_in_use_notices_that_another_process_has_begun_the_index_anew(store):
    store.put(KEY, b"old", "responses")
    os.replace(store.root / "index.sqlite", store.root / "index.sqlite.damaged")
    finished(python(f"store.put('{OTHER}', b'new', 'responses')", store.root))
    assert store.get_many([KEY, OTHER]) == {OTHER: b"new"}


def test_a_store_whose_folder_was_deleted_while_in_use_begins_anew(store):
    store.put(KEY, b"old", "responses")
    subprocess.run(["rm", "-r", store.root], check=True)
    assert store.get(KEY) is None
    store.put(KEY, b"new", "responses")
    assert store.get(KEY) == b"new"


# Room


def test_the_least_recently_used_goes_first(store):
    store.limit_bytes = 300
    for key in (KEY, OTHER, THIRD):
        store.put(key, b"x" * 100, "responses")
    store.get(KEY)
    store.put("d" * 32, b"x" * 100, "responses")
    assert store.has([KEY, OTHER, THIRD, "d" * 32]) == {KEY, THIRD, "d" * 32}
    assert store.size() == 300
    assert not blob(store, OTHER).exists()


def test_what_is_claimed_is_never_evicted(store):
    store.limit_bytes = 300
    for key in (KEY, OTHER, THIRD):
        store.put(key, b"x" * 100, "responses")
    with store.claim(KEY) as mine:
        assert mine
        store.put("d" * 32, b"x" * 200, "responses")
    assert store.has([KEY, OTHER, THIRD, "d" * 32]) == {KEY, "d" * 32}


def test_what_was_just_put_stays_even_when_all_else_is_claimed(store):
    store.limit_bytes = 100
    store.put(KEY, b"x" * 100, "responses")
    with store.claim(KEY):
        store.put(OTHER, b"x" * 100, "responses")
        assert store.has([KEY, OTHER]) == {KEY, OTHER}
    store.put(OTHER, b"y" * 100, "responses")
    assert store.has([KEY, OTHER]) == {OTHER}


def test_folders_are_evicted_like_everything_else(store):
    place = store.put_folder(KEY, make_folder(store), "model")
    store.limit_bytes = store.size()
    store.put(OTHER, b"x", "responses")
    assert not place.exists()
    assert store.folder(KEY) is None


def test_what_is_larger_than_the_limit_is_refused_in_a_sentence(store):
    store.limit_bytes = 10
    with pytest.raises(McoreError, match="MCORE_STORE_LIMIT"):
        store.put(KEY, b"x" * 11, "responses")
    with pytest.raises(McoreError, match="MCORE_STORE_LIMIT"):
        store.put_folder(KEY, make_folder(store), "model")
    assert list((store.root / "temp").iterdir()) == []


def test_a_full_disk_is_told_in_a_sentence_and_leaves_nothing_behind(store, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    store.put(OTHER, b"before", "responses")
    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(McoreError, match="is full; free some space"):
        store.put(KEY, b"logits", "responses")
    assert store.get_many([KEY, OTHER]) == {OTHER: b"before"}
    assert list((store.root / "temp").iterdir()) == []


def test_clearing_frees_everything_that_nobody_has_claimed(store):
    store.put(KEY, b"x" * 100, "responses")
    store.put(OTHER, b"x" * 50, "responses")
    (store.work(OTHER) / "half").write_bytes(b"x" * 25)
    (store.work(THIRD) / "half").write_bytes(b"x" * 7)
    with store.claim(OTHER):
        assert store.clear() == 107
    assert store.has([KEY, OTHER]) == {OTHER}
    assert (store.work(OTHER) / "half").exists()
    assert store.clear() == 75
    assert store.size() == 0


# Folders and scratch


def test_a_folder_moves_into_place_whole(store):
    source = make_folder(store)
    place = store.put_folder(KEY, source, "model", {"steps": 3})
    assert not source.exists()
    assert (place / "deeper" / "config.json").read_text() == "{}"
    assert store.entries("model")[0].bytes == 702
    assert store.get(KEY) is None  # a folder is no bytes, and stays
    assert store.folder(KEY) == place


def test_a_whole_folder_stays_when_the_same_is_put_again(store):
    place = store.put_folder(KEY, make_folder(store), "model")
    inode = place.stat().st_ino
    again = make_folder(store, name="again", content=b"other")
    assert store.put_folder(KEY, again, "model") == place
    assert place.stat().st_ino == inode
    assert not again.exists()


def test_the_checksums_of_a_folder_are_read_once(store, monkeypatch):
    store.put_folder(KEY, make_folder(store), "model")
    read = []
    monkeypatch.setattr(module, "_sealed", lambda path, real=module._sealed: read.append(path) or real(path))
    for _ in range(3):
        store.folder(KEY)
    assert len(read) == 2


def test_scratch_is_there_again_after_a_crash_until_it_is_dropped(store):
    (store.work(KEY) / "step-80").write_text("half done")
    assert (Store(store.root).work(KEY) / "step-80").read_text() == "half done"
    store.drop_work(KEY)
    assert list(store.work(KEY).iterdir()) == []


# Many at once


def test_threads_share_a_store(store):
    keys = [f"{number:032x}" for number in range(120)]

    def use(key):
        store.put(key, key.encode() * 50, "responses")
        return store.get(key) == key.encode() * 50 and store.has([key]) == {key}

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, keys))
    assert len(store.entries()) == 120


def test_processes_share_a_store_while_it_evicts(store):
    code = """
for n in range(60):
    key = f"{n % 20:032x}"
    store.put(key, key.encode() * 100, "responses")
    assert store.get(key) in (key.encode() * 100, None)
"""
    os.environ["MCORE_STORE_LIMIT"] = "20000"
    try:
        processes = [python(code, store.root) for _ in range(2)]
    finally:
        del os.environ["MCORE_STORE_LIMIT"]
    for process in processes:
        finished(process)
    assert 0 < store.size() <= 20_000
    assert sum(path.stat().st_size - 32 for path in store.root.glob("blobs/*/*")) == store.size()


def test_a_key_is_claimed_by_one_thread_at_a_time(store):
    with store.claim(KEY) as mine, store.claim(OTHER) as other:
        assert mine and other
        with store.claim(KEY) as again:
            assert not again
        with ThreadPoolExecutor(1) as pool:
            assert not pool.submit(lambda: store.claim(KEY).__enter__()).result()
    with store.claim(KEY) as free:
        assert free
    assert list((store.root / "locks").iterdir()) == []


def test_two_processes_never_do_the_same_work_twice(store):
    code = """
for n in range(40):
    key = f"{n:032x}"
    with store.claim(key) as mine:
        if mine and not store.has([key]):
            print(key)
            time.sleep(0.005)
            store.put(key, b"done", "responses")
"""
    done = [key for process in [python(code, store.root) for _ in range(2)] for key in finished(process).split()]
    assert sorted(done) == [f"{n:032x}" for n in range(40)]


def test_a_claim_is_free_when_its_holder_is_killed(store):
    process = python(f"with store.claim('{KEY}') as mine: print(mine, flush=True); time.sleep(60)", store.root)
    assert process.stdout.readline() == "True\n"
    with store.claim(KEY) as mine:
        assert not mine
    process.kill()
    process.communicate()
    with store.claim(KEY) as mine:
        assert mine


# What a kill leaves behind


def test_a_store_works_after_its_writers_were_killed_at_any_moment(store):
    code = """
model = sys.argv[2]
for n in range(10**6):
    store.put(f"{n % 50:032x}", os.urandom(3000), "responses")
    if n % 10 == 0:
        source = store.work(model) / "model"
        source.mkdir(exist_ok=True)
        (source / "weights").write_bytes(os.urandom(2000))
        store.drop(model)
        store.put_folder(model, source, "model")
    if n == 1: print("begun", flush=True)
"""
    models, chance = [f"{n:08x}" for n in range(4)], random.Random()
    writers = [python(code, store.root, model) for model in models]
    assert [writer.stdout.readline() for writer in writers] == ["begun\n"] * 4
    for writer, model in zip(writers, models, strict=True):  # those that come later write on
        time.sleep(chance.uniform(0, 0.25))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        fresh = Store(store.root)
        found = fresh.get_many(f"{n:032x}" for n in range(50))
        assert len(found) >= 2
        assert all(len(data) == 3000 for data in found.values())
        assert fresh.has(found) == set(found)
        if place := fresh.folder(model):
            assert (place / "weights").stat().st_size == 2000
        fresh.put(KEY, b"logits", "responses")
        assert fresh.get(KEY) == b"logits"
    assert len(list(store.root.glob("blobs/*/*"))) <= len(fresh.entries("responses")) + 4, "at most one orphan each"


def test_what_belongs_to_nobody_is_swept_when_the_store_is_opened(store):
    store.put(OTHER, b"named", "responses")
    left = [blob(store), store.root / "temp" / "half-written", store.root / "folders" / KEY]
    for path in left[:2]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    left[2].mkdir(parents=True)
    Store(store.root)
    assert all(path.exists() for path in left), "a write may still be under way"
    for path in [*left, blob(store, OTHER)]:
        age(path, 2 * 3600)
    fresh = Store(store.root)
    assert not any(path.exists() for path in left)
    assert fresh.get(OTHER) == b"named"


def test_scratch_of_long_ago_is_swept_unless_it_is_claimed(store):
    for key in (KEY, OTHER, THIRD):
        age(store.work(key), 8 * 24 * 3600 if key != THIRD else 3600)
    with store.claim(OTHER):
        Store(store.root)
    assert sorted(path.name for path in (store.root / "work").iterdir()) == [OTHER, THIRD]


def test_two_stores_may_be_opened_for_the_first_time_at_once(tmp_path):
    results, start = [], threading.Barrier(6)

    def open_it(number):
        start.wait()
        store = Store(tmp_path / "new")
        store.put(f"{number:08x}", b"x", "responses")
        results.append(store.get(f"{number:08x}"))

    threads = [threading.Thread(target=open_it, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [b"x"] * 6
