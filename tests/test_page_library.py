"""The Library page in every state, without a browser and without a model."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from app_in_apptest import HOME, charts, page, words
from browser_fixtures import RECIPE, carry_out
from streamlit.testing.v1 import AppTest
from test_library import age, computed

from mcore import presets, profile
from mcore.jobs.queue import Jobs
from mcore.library import items as library
from mcore.library.notes import Note, Notes
from mcore.link import pack, unlink
from mcore.question import as_written, parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.store import Store
from mcore.ui.export import json_of
from mcore.ui.library import imported

LIBRARY = "pages/6_Library.py"


@pytest.fixture
def store(app_store: Store) -> Store:
    return app_store


def shelf(**address: str | list[str]) -> AppTest:
    """The page as it opens for an address."""
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=60)
    app.switch_page(LIBRARY)
    for name, value in address.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def rows(app: AppTest) -> list[str]:
    """The names on the screen, in their order."""
    return [button.label.replace("\\", "") for button in app.button if (button.key or "").startswith("open-")]


def key_of(asked) -> str:
    return resolve(asked).fingerprint


@pytest.fixture
def hosted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MCORE_PROFILE", "hosted")
    profile.profile.cache_clear()
    yield
    profile.profile.cache_clear()


def test_an_empty_library_shows_the_shipped_result_and_the_way_to_compare(store: Store) -> None:
    app = shelf()
    assert "Nothing is kept yet" in words(app) and "ships with the app" in words(app)
    assert charts(app) == (1 if presets.shipped_result() else 0) and len(rows(app)) == 1
    assert [link.proto.page for link in app.get("page_link") if "first question" in link.proto.label]


def test_rows_tell_barrier_accuracies_and_size(store: Store) -> None:
    computed(store)
    app = shelf()
    said = words(app)
    assert "1 result, 2 trained models" in said and "of at most" in said
    assert rows(app)[0].startswith("austen@0 tuned on speech") and len(rows(app)) == 4
    assert "7 points" in said and "64 rows of speech" in said and "90.0 %" in said and "shipped result" in said


def test_a_row_opens_in_place_and_the_address_says_so(store: Store) -> None:
    asked = computed(store)
    app = shelf()
    assert charts(app) == 0
    app.button(key=f"open-{key_of(asked)}").click().run()
    assert not app.exception and charts(app) == 1 and "What this means" in words(app)
    assert app.query_params["open"] in (key_of(asked)[:12], [key_of(asked)[:12]])
    assert charts(shelf(open=key_of(asked)[:12])) == 1
    app.button(key=f"open-{key_of(asked)}").click().run()
    assert charts(app) == 0 and "open" not in app.query_params


def test_the_ways_on_hold_the_question(store: Store) -> None:
    asked = computed(store)
    app = shelf(open=key_of(asked)[:12])
    links = {link.proto.label: link.proto for link in app.get("page_link")}
    assert pack(asked) in links["Open in Compare"].query_string and pack(asked) in links["Open in Knowledge"].query_string


def test_a_model_becomes_end_a(store: Store) -> None:
    computed(store)
    model = store.entries("model")[0]
    app = shelf(open=model.key[:12])
    assert charts(app) == 1 and "trained model" in words(app)
    link = next(one.proto for one in app.get("page_link") if one.proto.label == "Compare as A")
    assert resolve(unlink(link.query_string)).a.fingerprint == model.key


@pytest.mark.parametrize("state", ["partial", "gone"])
def test_what_is_only_partly_kept_says_so(store: Store, state: str) -> None:
    asked = computed(store, points=3)
    if state == "gone":
        for entry in store.entries("responses"):
            store.drop(entry.key)
    app = shelf(open=key_of(asked)[:12])
    assert ("3 of 7 points" if state == "partial" else "None of its points is kept any more") in words(app)


def test_a_damaged_entry_is_told_and_the_page_goes_on(store: Store) -> None:
    asked = computed(store)
    store.put("ab" * 16, b'{"version": 7}', "experiment")
    (store.root / "blobs" / key_of(asked)[:2] / key_of(asked)).write_bytes(b"damaged")
    app = shelf(open="ab" * 6)
    assert "cannot be read by this version" in words(app) and "cannot be opened as things are" in words(app)
    app.button(key="delete").click().run()
    app.button(key="delete-it").click().run()
    assert not app.exception and not store.has(["ab" * 16])


def test_filters_show_what_fits_and_offer_the_way_back(store: Store) -> None:
    asked = computed(store)
    computed(store, b=RECIPE | {"head_seed": 9})
    Notes(store.root).write(key_of(asked), Note("the odd one", ("figure 2",)))
    assert len(rows(shelf(show="Models"))) == 3
    assert len(rows(shelf(find="1 → 9"))) == 1 and len(rows(shelf(find="odd"))) == 1 and len(rows(shelf(tag="figure 2"))) == 1
    app = shelf(find="no such thing")
    assert rows(app) == [] and "Nothing here fits" in words(app)
    app.button(key="show-all").click().run()
    assert not app.exception and len(rows(app)) == 6


@pytest.mark.parametrize(
    "address",
    [
        {"show": "<script>"}, {"page": "99999999999999999999"}, {"page": "-1"}, {"open": "../../etc/passwd"}, {"open": ""},
        {"pair": ["x", "y", "z"]}, {"pair": "0" * 5000}, {"find": "(" * 5000}, {"tag": "none"}, {"open": "🦆"},
    ],
)  # fmt: skip
def test_bad_values_in_the_address_fall_back(store: Store, address: dict) -> None:
    computed(store)
    app = shelf(**address)
    assert "<script>" not in words(app)
    assert "find" in address or len(rows(app)) == 4


def test_two_results_stand_on_one_chart(store: Store) -> None:
    first, second = computed(store), computed(store, b=RECIPE | {"head_seed": 9})
    app = shelf()
    app.checkbox(key=f"pick-{key_of(first)}").check().run()
    assert "at another result to see both" in words(app) and charts(app) == 0
    app.checkbox(key=f"pick-{key_of(second)}").check().run()
    assert not app.exception and charts(app) == 1 and "intervals overlap" in words(app)
    described = app.get("vega_lite_chart")[0].proto.spec
    assert "Result 1 has a barrier" in described and "Result 2 has a barrier" in described
    again = shelf(pair=[key_of(first)[:12], key_of(second)[:12]])
    assert charts(again) == 1 and again.checkbox(key=f"pick-{key_of(second)}").value
    app.button(key="clear-pair").click().run()
    assert charts(app) == 0 and not app.checkbox(key=f"pick-{key_of(first)}").value


def test_notes_and_tags_are_kept_and_escaped(store: Store) -> None:
    asked = computed(store)
    app = shelf(open=key_of(asked)[:12])
    app.text_area(key=f"note-{key_of(asked)}").set_value("<img src=x onerror=alert(1)> fine").run()
    app.multiselect(key=f"tags-{key_of(asked)}").set_value([]).run()
    assert Notes(store.root).every()[key_of(asked)].text == "<img src=x onerror=alert(1)> fine"
    said = words(shelf())
    assert "&lt;img src=x" in said and "<img src=x" not in said


def test_a_note_that_cannot_be_kept_is_told(store: Store) -> None:
    asked = computed(store)
    for end in ("", "-wal", "-shm"):
        (store.root / f"library.sqlite{end}").unlink(missing_ok=True)
    (store.root / "library.sqlite").mkdir()
    app = shelf(open=key_of(asked)[:12])
    assert "Notes and tags cannot be kept" in words(app) and charts(app) == 1
    app.text_area(key=f"note-{key_of(asked)}").set_value("x").run()
    assert not app.exception and "This is not kept." in words(app)


def test_deleting_asks_first_and_then_deletes(store: Store) -> None:
    asked = computed(store)
    app = shelf(open=key_of(asked)[:12], pair=key_of(asked)[:12])
    app.button(key="delete").click().run()
    assert "Its computed points are deleted" in words(app) and store.has([key_of(asked)])
    app.button(key="keep-it").click().run()
    app.button(key="delete").click().run()
    app.button(key="delete-it").click().run()
    assert not app.exception and not store.has([key_of(asked)]) and len(rows(app)) == 3
    assert "freed" in app.toast[0].value and "pair" not in app.query_params and "open" not in app.query_params


def test_what_is_being_computed_cannot_be_deleted(store: Store) -> None:
    asked = computed(store, points=2)
    Jobs(store.root).submit(as_written(asked), key_of(asked))
    app = shelf(open=key_of(asked)[:12])
    app.button(key="delete").click().run()
    assert "cancel it in Compare first" in words(app)
    assert not [button for button in app.button if button.key == "delete-it"]


def test_space_is_freed_by_age(store: Store) -> None:
    old, new = computed(store), computed(store, a=RECIPE | {"head_seed": 8}, b=RECIPE | {"head_seed": 9})
    for key in (key_of(old), *library.facts(library.items(store)[-1], store).parts):
        age(store, key, 10)
    app = shelf()
    app.session_state["free-space"] = True
    app.run()
    assert app.button(key="clear-store").disabled, "nothing is older than 30 days"
    app.radio(key="age").set_value("Not used for 7 days").run()
    assert app.button(key="clear-store").label.startswith("Delete ")
    app.button(key="clear-store").click().run()
    assert not app.exception and not store.has([key_of(old)]) and store.has([key_of(new)])


def test_everything_can_be_deleted(store: Store) -> None:
    computed(store)
    app = shelf()
    app.session_state["free-space"] = True
    app.run()
    app.radio(key="age").set_value("Everything").run()
    app.button(key="clear-store").click().run()
    assert not app.exception and store.size() == 0 and "Nothing is kept yet" in words(app)


def test_a_full_store_says_what_leaves_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    computed(store)
    monkeypatch.setenv("MCORE_STORE_LIMIT", str(int(store.size() * 1.05)))
    profile.profile.cache_clear()
    try:
        assert "The least recently used leave first" in words(shelf())
    finally:
        profile.profile.cache_clear()


def test_the_list_comes_in_pages(store: Store) -> None:
    for i in range(45):
        store.put(f"{i:032x}", b'{"version": 7}', "experiment")
    app = shelf()
    assert len(rows(app)) == 20 and "46 of 46" in words(app)
    assert len(rows(shelf(page="3"))) == 6
    assert len(rows(shelf(page="3", open=f"{44:032x}"))) in (6, 7), "what the address opens is on every page"


class Uploads:
    """Stands for the field that AppTest cannot fill: gives these bytes as a chosen file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.file = None
        monkeypatch.setattr(imported.st, "file_uploader", lambda *_, **__: self.file)

    def choose(self, data: bytes, name: str) -> None:
        self.file = SimpleNamespace(name=name, file_id=str(time.monotonic_ns()), getvalue=lambda: data)


def test_an_imported_file_is_shown_marked_and_its_name_escaped(store: Store, tmp_path, monkeypatch) -> None:
    theirs = Store(tmp_path / "theirs")
    told = collect(resolve(computed(theirs)), theirs)
    field = Uploads(monkeypatch)
    app = shelf()
    field.choose(json_of(told), "<b>theirs</b>.json")
    app.run()
    field.file = None
    app.run()
    assert not app.exception and len(store.entries("import")) == 1
    assert "&lt;b&gt;theirs&lt;/b&gt;.json" in words(app) and "<b>theirs" not in words(app)
    assert charts(app) == 1 and "imported file" in words(app)
    assert len(rows(shelf(show="Imported"))) == 1


@pytest.mark.parametrize("data", [b"", b"[" * 100_000, b"\xff", b'{"fingerprint": "<script>alert(1)</script>"}', b"PK\x03\x04"])
def test_a_hostile_file_gets_one_sentence_and_leaves_nothing(store: Store, monkeypatch, data: bytes) -> None:
    field = Uploads(monkeypatch)
    app = shelf()
    field.choose(data, "x.json")
    for _ in range(2):  # the sentence stays until another file is chosen
        app.run()
        assert not app.exception and "This file is not taken." in words(app) and "<script>" not in words(app)
    assert store.entries("import") == []


def test_compare_shows_an_imported_result_where_nothing_was_computed(store: Store, tmp_path) -> None:
    theirs = Store(tmp_path / "theirs")
    asked = computed(theirs)
    library.keep_file(json_of(collect(resolve(asked), theirs)), "theirs.json", store)
    app = page(asked)
    assert "imported file" in words(app) and "not linearly connected" in words(app) and charts(app) >= 1
    assert not app.button(key="run").disabled, "it can still be computed here"
    carry_out(asked, store)
    assert "imported file" not in words(page(asked)), "an answer of its own comes first"


def test_compare_shows_an_imported_result_whose_names_mean_nothing_here(store: Store, tmp_path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("text,label\n" + "".join(f"row {i},{i % 2}\n" for i in range(40)))
    task, theirs = {"task": f"local:{file}", "split": "all"}, Store(tmp_path / "theirs")
    asked = computed(theirs, a=RECIPE | {"task": task}, b=RECIPE | {"task": task, "head_seed": 2}, tasks=[task])
    told = collect(resolve(asked), theirs)
    library.keep_file(json_of(told), "theirs.json", store)
    file.unlink()
    app = page(parse(told["experiment"]))
    assert "there is no file" in words(app) and "imported file" in words(app) and charts(app) == 1


def test_on_a_host_a_visitor_sees_what_they_asked_for_and_can_change_nothing(store: Store, hosted) -> None:
    mine, others = computed(store), computed(store, b=RECIPE | {"head_seed": 9})
    theirs = library.keep_file(json_of(collect(resolve(others), store)), "others.json", store)
    app = page(mine)
    app.switch_page(LIBRARY).run()
    assert not app.exception and "What you asked for or opened in this session" in words(app)
    assert len(rows(app)) == 4, "the result, its two models, and what ships"
    assert not app.get("file_uploader") and not [one for one in app.button if one.key in ("clear-store", "delete")]
    app.button(key=f"open-{key_of(mine)}").click().run()
    assert charts(app) == 1 and not [one for one in app.button if one.key == "delete"]
    app.text_area(key=f"note-{key_of(mine)}").set_value("only mine").run()
    assert "only mine" in words(app) and Notes(store.root).every() == {}
    other = shelf(open=theirs[:12])
    assert "only mine" not in words(other) and len(rows(other)) == 1
    assert len(rows(shelf(pair=[key_of(others)[:12], theirs[:12]]))) == 1
