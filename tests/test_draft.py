"""The question as it is being asked: what inputs write, and when they must not."""

from streamlit.testing.v1 import AppTest

from mcore.ui import draft


def test_a_field_of_a_recipe_that_has_become_an_address_changes_nothing() -> None:
    def page() -> None:
        from mcore.ui import draft

        draft.fill({"a": "local:?", "b": {}})
        draft.put(("a", "steps"), 3)
        draft.put(("b", "steps"), 4)

    app = AppTest.from_function(page).run()
    assert not app.exception
    assert app.session_state[draft.DRAFT] == {"a": "local:?", "b": {"steps": 4}}
