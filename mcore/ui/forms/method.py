"""The tuning method of a recipe: which one, and the settings of that one and no other."""

from __future__ import annotations

import streamlit as st

from mcore.errors import QuestionError
from mcore.models.added import tuned
from mcore.models.methods import DEFAULTS, RATES, SEEDED, check_method, filled, of_its_method, structure_of
from mcore.names import percent
from mcore.question import OF_METHOD, Recipe
from mcore.ui import draft
from mcore.ui.forms import inputs
from mcore.ui.html import rich, show, text
from mcore.ui.looked import at, count

NAMES = {"full": "Everything", "lora": "LoRA", "adapter": "Adapters", "prefix": "Prefix", "bitfit": "BitFit"}
TOLD = {
    "full": "Every weight is tuned.",
    "lora": "[LoRA]: beside each matrix of queries and values two thin ones are learned, whose product is added.",
    "adapter": "Small layers inside each block, [adapters], are learned.",
    "prefix": "A [prefix] of keys and values is learned, which stands before those of the text.",
    "bitfit": "[BitFit]: the biases are tuned.",
}
STILL = "The head is tuned too; the rest of the base stands still, and so it does along the [path]."
PLACED = {"houlsby": "Houlsby: two in a block", "pfeiffer": "Pfeiffer: one in a block"}
LAYERS = {"all": "all layers", "last:1": "the last layer", "last:2": "the last 2 layers"}


def method_form(side: str) -> None:
    """A row of methods, and below it what belongs to the chosen one."""
    recipe = draft.get((side,))
    given = recipe.get("method", "full")
    method = given if given in NAMES else "full"
    draft.set_value(inputs.key_of((side, "method")), method)
    st.segmented_control(
        "What is tuned", list(NAMES), format_func=NAMES.get, required=True, key=inputs.key_of((side, "method")), on_change=_turn, args=(side,),
        help="Everything, or only a small part that is added to the base.",
    )  # fmt: skip
    if method != "full":
        _settings(side, method)
        show(rich(f"{TOLD[method]} {STILL}", "quiet"), text(_counted(side), "quiet"))
        _rate(side, method)
    other = "b" if side == "a" else "a"
    if isinstance(draft.get((other,)), dict) and _way_of(side) != _way_of(other):
        st.button(
            f"Tune {other.upper()} likewise",
            key=f"likewise-{side}",
            on_click=_likewise,
            args=(side, other),
            icon=":material/sync_alt:",
        )


def _rate(side: str, method: str) -> None:
    """Offers a learning rate where the recipe's is one at which the method hardly moves."""
    usual, given = RATES.get(method), draft.get((side, "learning_rate"), Recipe.model_fields["learning_rate"].default)
    if usual and isinstance(given, int | float) and 0 < given < usual / 3:
        show(text(f"At a learning rate of {given:g} it learns slowly.", "quiet"))
        st.button(
            f"Use {usual:g}",
            key=f"rate-{side}",
            on_click=draft.put,
            args=((side, "learning_rate"), usual),
            icon=":material/speed:",
        )


def _way_of(side: str) -> dict:
    """The method and its settings, without the seed, in which two ends may differ."""
    return {
        name: value
        for name, value in draft.get((side,)).items()
        if name in ("method", *OF_METHOD) and name != "delta_seed"
    }


def _likewise(side: str, other: str) -> None:
    if not all(isinstance(draft.get((one,)), dict) for one in (side, other)):
        return  # as in ``_turn``
    kept = {name: value for name, value in draft.get((other,)).items() if name not in _way_of(other)}
    draft.put((other,), of_its_method(kept | _way_of(side)))


def _turn(side: str) -> None:
    """Another method: the settings of the one before are dropped, and so is what a path between two LoRA says."""
    method = st.session_state[inputs.key_of((side, "method"))]
    if not isinstance(draft.get((side,)), dict):
        return  # in the same moment the end became something else than a recipe
    recipe = {name: value for name, value in draft.get((side,)).items() if name != "method"}
    draft.put((side,), of_its_method(recipe | ({} if method == "full" else {"method": method})))
    ends = [end for one in "ab" if isinstance(end := draft.get((one,)), dict)]
    if not any(end.get("method") == "lora" for end in ends) and draft.get(("path", "lora")):
        draft.put(("path", "lora"), None)


def _settings(side: str, method: str) -> None:
    left, right = st.columns(2)
    with left:
        if method == "lora":
            _number(side, method, "Rank", "rank", "How thin the two matrices are.")
        if method == "adapter":
            _number(side, method, "Bottleneck", "bottleneck", "Units between the two layers of an adapter.")
            _chosen(
                side,
                method,
                "Placement",
                "placement",
                PLACED,
                told="After attention and after feed-forward, or after feed-forward alone.",
            )
        if method == "prefix":
            _number(
                side,
                method,
                "Prefix length",
                "prefix_length",
                "Keys and values before those of the text, in each self-attention.",
            )
        _chosen(
            side,
            method,
            "In",
            "layers",
            LAYERS,
            told="Another number of the last layers can be typed: last:K.",
            more=True,
        )
    with right:
        if method == "lora":
            _number(side, method, "Alpha", "alpha", "Their product counts alpha / rank times.")
        if method == "adapter":
            _chosen(
                side, method, "Non-linearity", "activation", {name: name for name in ("relu", "gelu", "silu", "tanh")}
            )
        if "init_scale" in DEFAULTS[method]:
            _number(
                side, method, "Initial scale", "init_scale", "The standard deviation of what is added, at the start."
            )
        if method in SEEDED:
            inputs.number_field(
                "Seed of what is added",
                (side, "delta_seed"),
                "Fixes how it starts. Empty: as the head seed.",
                draft.get((side, "head_seed"), 1),
            )
    if method in OF_METHOD["train_norms"]:
        st.checkbox(
            "Tune the layer norms too",
            **draft.bound(
                inputs.key_of((side, "train_norms")),
                (side, "train_norms"),
                draft.get((side, "train_norms")) is True,
                lambda on: on or None,
            ),
        )


def _number(side: str, method: str, label: str, name: str, told: str) -> None:
    inputs.number_field(label, (side, name), told, DEFAULTS[method][name])


def _chosen(
    side: str, method: str, label: str, name: str, known: dict[str, str], told: str | None = None, more: bool = False
) -> None:
    usual = DEFAULTS[method][name]
    given = draft.get((side, name), usual)
    st.selectbox(
        label, known if given in known else [*known, given], format_func=lambda value: known.get(value, value), accept_new_options=more, help=told,
        **draft.bound(inputs.key_of((side, name)), (side, name), given, lambda value: None if value == usual else value),
    )  # fmt: skip


def _counted(side: str) -> str:
    """How much is tuned; nothing where the base or a setting cannot be read."""
    try:
        recipe = filled(Recipe.model_validate(draft.get((side,))))
        base = at(recipe.base, side)
        if base is None:
            return ""
        check_method(recipe, base.config, side)
    except (ValueError, QuestionError):
        return ""
    found = tuned(structure_of(recipe, base.config), base, 0, bool(recipe.train_norms))
    return (
        f"{found:,} parameters beside the head, {percent(found / base.parameters)} of the base's {count(base.parameters)}."
        if found
        else ""
    )
