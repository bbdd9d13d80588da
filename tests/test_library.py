"""What the library lists, remembers and deletes, with answers made without a model."""

from __future__ import annotations

import json
import sqlite3
import time

import pytest
from browser_fixtures import RECIPE, carry_out, question

from mcore import presets
from mcore.charts.pair import pair_chart, pair_told
from mcore.errors import McoreError, QuestionError
from mcore.library import clearing
from mcore.library import items as library
from mcore.library.items import Item
from mcore.library.notes import MOST_TAGS, MOST_TEXT, Note, Notes, note
from mcore.question import Experiment, as_written, canonical, parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.store import Store
from mcore.ui.export import json_of


def computed(store: Store, points: int | None = None, **changes: object) -> Experiment:
    """An answer as ``run`` leaves it: with its entry."""
    asked = question(**changes)
    resolved = carry_out(asked, store, points)
    store.put(resolved.fingerprint, canonical(as_written(asked)).encode(), "experiment")
    return asked


def of(asked: Experiment, store: Store) -> Item:
    found = [item for item in library.items(store) if item.key == resolve(asked).fingerprint]
    assert len(found) == 1
    return found[0]


def stored(asked: Experiment, store: Store) -> int:
    return len(collect(resolve(asked), store)["tasks"][0]["t"])


def age(store: Store, key: str, days: float) -> None:
    """As if an entry had last been used so long ago."""
    with sqlite3.connect(store.root / "index.sqlite") as db:
        db.execute("UPDATE entries SET used = used - ? WHERE key = ?", (days * clearing.DAY, key))


def test_results_models_and_files_are_listed_newest_first(store):
    first, second = computed(store), computed(store, points=2, b=RECIPE | {"head_seed": 3})
    library.keep_file(json_of(collect(resolve(first), store)), "theirs.json", store)
    found = library.items(store)
    assert [item.created for item in found] == sorted((item.created for item in found), reverse=True)
    assert sorted(item.kind for item in found) == ["experiment", "experiment", "import", "model", "model", "model"]
    assert found[0].kind == "import" and found[0].name == "theirs.json" and found[0].question is not None
    assert of(second, store).title == "austen@0 tuned on speech, 20 steps · head seed 1 → 3"
    assert of(first, store).title.endswith("head seed 1 → 2, data seed 1 → 2")


def test_listing_counts_as_no_use(store):
    computed(store)
    before = {entry.key: entry.used for entry in store.entries("experiment")}
    library.items(store)
    assert {entry.key: entry.used for entry in store.entries("experiment")} == before


def test_kind_words_and_tags_filter(store):
    asked = computed(store)
    every = library.items(store)
    notes = {resolve(asked).fingerprint: Note("a surprising bump", ("figure 2",))}
    assert {item.kind for item in library.matching(every, ["model"])} == {"model"}
    assert [item.kind for item in library.matching(every, None, "SEED 1 → 2 speech")] == ["experiment"]
    assert [item.kind for item in library.matching(every, None, "bump", (), notes)] == ["experiment"]
    assert [item.kind for item in library.matching(every, None, "", ["figure 2"], notes)] == ["experiment"]
    assert library.matching(every, ["model"], "", ["figure 2"], notes) == library.matching(every, None, "no such word") == []


def test_facts_tell_barrier_accuracies_and_how_much_is_there(store):
    whole, part = computed(store), computed(store, points=3, b=RECIPE | {"head_seed": 3})
    told = library.facts(of(whole, store), store)
    result = collect(resolve(whole), store)["tasks"][0]
    assert told.stored == told.points == 7 and told.summary["barrier"] == result["barrier"]["loss_chord"]
    assert told.summary["accuracy"] == [result["accuracy"][0], result["accuracy"][-1]]
    assert set(told.models) == {resolve(whole).a.fingerprint, resolve(whole).b.fingerprint}
    assert library.facts(of(part, store), store).stored == 3


def test_facts_are_remembered_until_something_changes(store, monkeypatch):
    asked, notes = computed(store, points=3), Notes(store.root)
    item = of(asked, store)
    first = library.known_facts([item], store, notes)
    with monkeypatch.context() as patch:
        patch.setattr(library, "facts", lambda *_: pytest.fail("this was known"))
        assert library.known_facts([item], store, Notes(store.root)) == first
    computed(store)
    assert library.known_facts([item], store, notes)[item.key].stored == 7
    response = library.facts(item, store).responses[0]
    store.drop(response)
    assert library.known_facts([item], store, notes)[item.key].stored == 6


def test_little_time_still_reads_one_row_and_then_the_next(store):
    asked = [computed(store, b=RECIPE | {"head_seed": seed}) for seed in (2, 3, 4)]
    found, notes = [of(one, store) for one in asked], Notes(store.root)
    assert [len(library.known_facts(found, store, notes, seconds=0)) for _ in range(4)] == [1, 2, 3, 3]


def test_a_row_that_cannot_be_opened_says_why_and_holds_up_nobody(store, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("text,label\n" + "".join(f"row {i},{i % 2}\n" for i in range(40)))
    task = {"task": f"local:{file}", "split": "all"}
    asked = computed(store, a=RECIPE | {"task": task}, b=RECIPE | {"task": task, "head_seed": 2}, tasks=[task])
    key = resolve(asked).fingerprint
    other = computed(store)
    file.write_text("text,label\n" + "".join(f"other {i},{i % 2}\n" for i in range(40)))
    found, notes = [item for item in library.items(store) if item.kind == "experiment"], Notes(store.root)
    known = {}
    for _ in range(3):
        known = library.known_facts(found, store, notes, seconds=0)
    assert "has changed since" in known[key].wrong and not known[resolve(other).fingerprint].wrong
    file.unlink()
    assert "there is no file" in library.facts(next(item for item in found if item.key == key), store).wrong


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"version": 7}', '{"version": 1, "a": 5}'])
def test_an_entry_of_another_version_is_listed_and_can_be_deleted(store, text):
    store.put("ab" * 16, text.encode(), "experiment")
    (item,) = library.items(store)
    assert "cannot be read by this version" in item.wrong and item.question is None
    assert library.known_facts([item], store, None)[item.key].wrong == item.wrong
    clearing.delete(item, [item], store, Notes(store.root))
    assert library.items(store) == []


def test_a_damaged_entry_is_listed_once_with_a_sentence(store):
    key = resolve(computed(store)).fingerprint
    (store.root / "blobs" / key[:2] / key).write_bytes(b"damaged")
    assert "was damaged" in next(item for item in library.items(store) if item.key == key).wrong
    assert key not in {item.key for item in library.items(store)}


def test_deleting_a_result_leaves_what_another_one_uses(store):
    small = computed(store)
    fine = computed(store, probes=["loss"])
    apart = computed(store, b=RECIPE | {"head_seed": 9})
    models = {entry.key for entry in store.entries("model")}
    assert len(library.facts(of(small, store), store).responses) == 7
    freed = clearing.delete(of(apart, store), library.items(store), store, Notes(store.root))
    shared_end = resolve(apart).a.fingerprint
    assert freed > 0 and stored(small, store) == stored(fine, store) == 7 and shared_end in models
    clearing.delete(of(small, store), library.items(store), store, Notes(store.root))
    assert stored(fine, store) == 7, "both read the same responses"
    clearing.delete(of(fine, store), library.items(store), store, Notes(store.root))
    assert stored(fine, store) == 0
    assert {entry.kind for entry in store.entries()} == {"model"} and {entry.key for entry in store.entries()} == models


def test_what_cannot_share_is_told_from_the_questions_alone():
    here = question()
    assert clearing.may_share(here, question(points=3)) and clearing.may_share(here, question(b=RECIPE | {"head_seed": 9}))
    both = {"a": RECIPE | {"head_seed": 8}, "b": RECIPE | {"head_seed": 9}}
    assert not clearing.may_share(here, question(**both)) and not clearing.may_share(here, None)
    assert not clearing.may_share(here, question(a="builtin:austen@0", b="builtin:austen@1000"))
    copied = RECIPE | {"base": "local:/a/copy"}
    assert clearing.may_share(here, question(a=copied, b=copied | {"head_seed": 7})), "a copy has the same weights"
    assert clearing.may_share(question(a="builtin:austen", b="builtin:austen@0"), question(a="builtin:austen@7000", b="builtin:austen@1000"))


def test_deleting_a_model_leaves_its_results(store):
    asked = computed(store)
    model = next(item for item in library.items(store) if item.kind == "model")
    freed = clearing.delete(model, library.items(store), store, None)
    assert freed == model.bytes and stored(asked, store) == 7 and not store.has([model.key])


def test_what_is_being_computed_is_not_deleted(store):
    asked = computed(store)
    busy = library.facts(of(asked, store), store).responses[0]
    with store.claim(busy) as mine:
        assert mine
        clearing.delete(of(asked, store), library.items(store), store, None)
    assert stored(asked, store) == 1


def test_a_note_goes_with_its_thing(store):
    asked, notes = computed(store), Notes(store.root)
    notes.write(resolve(asked).fingerprint, Note("gone soon"))
    clearing.delete(of(asked, store), library.items(store), store, notes)
    assert notes.every() == {}


def test_clearing_by_age_keeps_what_a_result_that_was_opened_needs(store):
    old, opened, notes = computed(store), computed(store, b=RECIPE | {"head_seed": 9}), Notes(store.root)
    for entry in store.entries():
        age(store, entry.key, 10)
    told = library.facts(of(opened, store), store)
    store.touch([resolve(opened).fingerprint, *told.parts, *told.models])  # as the page does when it is opened
    assert clearing.unused(30, store) == []
    entries = clearing.unused(7, store)
    assert {entry.key for entry in entries if entry.kind == "model"} == {resolve(old).b.fingerprint}
    freed = clearing.clear(entries, store, notes)
    assert freed == sum(entry.bytes for entry in entries) > 0
    assert stored(opened, store) == 7 and resolve(old).fingerprint not in {item.key for item in library.items(store)}


def test_an_imported_file_is_kept_apart_and_found_for_its_question(store, tmp_path):
    theirs = Store(tmp_path / "theirs")
    asked = computed(theirs)
    told = collect(resolve(asked), theirs)
    key = library.keep_file(json_of(told), "a.json", store)
    assert library.keep_file(json_of(told), "b.json", store) == key, "the same content is the same file"
    assert [entry.kind for entry in store.entries()] == ["import"] and stored(asked, store) == 0
    assert library.file_for(asked, resolve(asked).fingerprint, store) == key
    assert library.file_for(parse(told["experiment"]), None, store) == key, "by the question in the file"
    assert library.file_for(question(points=9), resolve(question(points=9)).fingerprint, store) is None
    from mcore.library.resultfile import document

    assert document(library.kept_file(key, store)) == told
    (item,) = library.items(store)
    assert item.told["barrier"] == told["tasks"][0]["barrier"]["loss_chord"] and item.name == "b.json"


def test_a_file_for_which_there_is_no_room_is_refused(tmp_path, store):
    told = json_of(collect(resolve(computed(store)), store))
    with pytest.raises(McoreError, match="the store may hold"):
        library.keep_file(told, "large.json", Store(tmp_path / "small", limit_bytes=1000))


def test_a_wrong_file_leaves_no_trace(store):
    with pytest.raises(QuestionError):
        library.keep_file(b"{}", "x.json", store)
    assert store.entries() == []


def test_notes_are_bounded_and_tidy(store):
    assert note("  words ", ["Figure  2", "figure 2", " ", "b"]) == Note("words", ("figure 2", "b"))
    for text, tags in (("x" * (MOST_TEXT + 1), ()), ("", [str(i) for i in range(MOST_TAGS + 1)]), ("", ["x" * 31])):
        with pytest.raises(QuestionError):
            note(text, tags)


def test_notes_survive_and_an_empty_one_is_none(store):
    Notes(store.root).write("ab" * 16, Note("<b>kept</b>", ("x",)))
    assert Notes(store.root).every() == {"ab" * 16: Note("<b>kept</b>", ("x",))}
    Notes(store.root).write("ab" * 16, Note())
    assert Notes(store.root).every() == {}


def test_damaged_notes_begin_anew(store):
    Notes(store.root).write("ab" * 16, Note("x"))
    with sqlite3.connect(store.root / "library.sqlite") as db:
        db.execute("UPDATE notes SET tags = '{'")
    assert Notes(store.root).every()["ab" * 16] == Note("x", ())
    (store.root / "library.sqlite").write_bytes(b"no database at all" * 100)
    for end in ("-wal", "-shm"):
        (store.root / f"library.sqlite{end}").unlink(missing_ok=True)
    assert Notes(store.root).every() == {}


def test_what_another_version_remembered_is_read_again(store):
    asked, notes = computed(store), Notes(store.root)
    key = resolve(asked).fingerprint
    notes.remember({key: {"nothing": "known"}})
    assert library.known_facts([of(asked, store)], store, notes)[key].stored == 7


def test_a_library_without_its_file_still_lists(store):
    computed(store)
    assert len(library.known_facts([item for item in library.items(store) if item.kind == "experiment"], store, None)) == 1


def test_a_pair_tells_which_barrier_is_higher():
    first = presets.shipped_result()["tasks"][0]
    second = json.loads(json.dumps(first))
    second["barrier"]["loss_chord"] |= {"value": 0.5, "low": 0.4, "high": 0.6}
    told = pair_told(first, second)
    assert "result 2 is higher by 0.41 nats" in told[2] and "do not overlap" in told[2] and len(told) == 3
    assert "overlap: these rows do not tell them apart" in pair_told(first, first)[2]
    other = json.loads(json.dumps(first)) | {"rows": [1, 2], "barrier": None}
    told = pair_told(first, other)
    assert "Result 2 has no barrier yet" in told[1] and "different rows" in told[2]


@pytest.mark.parametrize("dark", [False, True])
def test_the_pair_chart_draws_both_and_tells_them(dark):
    first = presets.shipped_result()["tasks"][0]
    empty = first | {"t": [], "loss": [], "accuracy": [], "barrier": None}
    spec = pair_chart(first, first, dark).to_dict()
    assert spec["description"].startswith("Two results on one chart. Result 1 has a barrier of 0.09 nats")
    marks = json.dumps(spec)
    assert '"square"' in marks and '"circle"' in marks and '[7, 4]' in marks
    assert pair_chart(first, empty, dark).to_dict() and pair_chart(empty, empty, dark).to_dict()


def test_five_hundred_results_are_listed_at_once(store):
    """Entries alone: what a list costs before anybody looks at a row."""
    text = canonical(as_written(question())).encode()
    for i in range(500):
        store.put(f"{i:032x}", text, "experiment")
    began = time.monotonic()
    assert len(library.items(store)) == 500
    assert time.monotonic() - began < 3  # with room for a busy machine
