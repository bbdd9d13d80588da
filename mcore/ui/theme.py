"""How every page looks: page set-up, the header with the ways to the other pages, one style sheet, dark or light."""

from __future__ import annotations

import streamlit as st

TITLE = "Mode Connectivity Explorer"
PAGES = (
    ("app.py", "Home"),
    ("pages/1_Compare.py", "Compare"),
    ("pages/2_Fine-tune.py", "Fine-tune"),
    ("pages/3_Knowledge.py", "Knowledge"),
    ("pages/4_Pre-training.py", "Pre-training"),
    ("pages/5_Findings.py", "Findings"),
    ("pages/6_Library.py", "Library"),
)
ABOUT = "**Mode Connectivity Explorer**: loss and task knowledge along paths between fine-tuned language models."

COLOURS = {
    "light": {"a": "#2563eb", "b": "#c2570a", "a-edge": "#2563eb", "b-edge": "#ea730c", "quiet": "#5b6472",
              "line": "#d9dde3", "panel": "#f5f6f8", "text": "#1f2430", "bad": "#b42318", "bad-ground": "#fef3f2", "ground": "#ffffff"},
    "dark": {"a": "#8ab4ff", "b": "#ffab5e", "a-edge": "#6ea2ff", "b-edge": "#ff9a3d", "quiet": "#a3abba",
             "line": "#343a46", "panel": "#171b24", "text": "#e7e9ee", "bad": "#ffb4ab", "bad-ground": "#2b1715", "ground": "#0e1117"},
}  # fmt: skip

# Four sizes: 1.85 rem (a page's title), 1.2 (a question, a section), 1 (text), 0.85 (what stands beneath).
STYLE = """
.stMainBlockContainer { max-width: 1240px; padding: 1.1rem 2rem 4rem; }
.stAppHeader { background: transparent; } .stAppHeader, .stAppHeader * { pointer-events: none; }
.stAppHeader button, .stAppHeader button * { pointer-events: auto; }
[data-testid="stStatusWidget"] { display: none; }
.stHtml p { margin: 0 0 .35rem; }
.stHtml h1 { font-size: 1.85rem; } .stHtml h2 { font-size: 1.2rem; }
[data-stale="true"] { opacity: 1 !important; transition: none !important; }
.stHtml h1, .stHtml h2 { line-height: 1.25; padding: 0; margin: .3rem 0; }
.st-key-strip [data-testid="stButtonGroup"] button { min-height: 2.55rem; }
.mc-body { font-size: 1rem; line-height: 1.55; max-width: 44rem; }
.mc-lead { font-size: 1.2rem; line-height: 1.55; max-width: 48rem; }
.mc-verdict { font-size: 1.2rem; line-height: 1.45; font-weight: 500; }
.mc-quiet { font-size: .85rem; line-height: 1.5; color: var(--mc-quiet); }
.mc-head { font-size: .85rem; font-weight: 600; color: var(--mc-quiet); }
.mc-error { font-size: 1rem; line-height: 1.5; color: var(--mc-bad); background: var(--mc-bad-ground);
  border-left: 3px solid var(--mc-bad); padding: .5rem .75rem; border-radius: 0 6px 6px 0; overflow-wrap: anywhere; }
.mc-note { font-size: .85rem; line-height: 1.5; border-left: 3px solid var(--mc-line); padding: .3rem .75rem;
  color: var(--mc-quiet);
  overflow-wrap: anywhere; }
.mc-body, .mc-lead, .mc-verdict, .mc-quiet { overflow-wrap: anywhere; }
.mc-mark { display: inline-block; font-size: .85rem; line-height: 1.4; padding: .1rem .55rem; border-radius: 999px;
  border: 1px solid var(--mc-line); color: var(--mc-quiet); background: var(--mc-panel); }
.mc-mark-live { color: var(--mc-text); border-color: var(--mc-quiet); }
.mc-terms { position: relative; }
.mc-term { text-decoration: underline dotted var(--mc-quiet); text-underline-offset: .22em;
  text-decoration-thickness: 1.5px; cursor: help; }
.mc-term:hover::after, .mc-term:focus::after { content: attr(data-told); position: absolute; left: 0;
  top: 100%; z-index: 20;
  box-sizing: border-box; max-width: min(26rem, 100%); padding: .5rem .75rem; border-radius: 6px;
  font-size: .85rem; line-height: 1.45;
  font-weight: 400; color: var(--mc-ground); background: var(--mc-text); white-space: normal; text-align: left; }
.mc-frame { position: relative; overflow: auto; max-height: 30rem; border: 1px solid var(--mc-line);
  border-radius: 6px; }
.mc-table { border-collapse: collapse; width: 100%; font-size: .85rem; font-variant-numeric: tabular-nums; }
.mc-table th { position: sticky; top: 0; background: var(--mc-panel); font-weight: 600; }
.mc-table th, .mc-table td { padding: .3rem .7rem; border: 0; border-bottom: 1px solid var(--mc-line);
  white-space: nowrap; }
.mc-table td.mc-left { white-space: normal; overflow-wrap: anywhere; }
.mc-table tr:last-child td { border-bottom: 0; }
.mc-left { text-align: left; } .mc-right { text-align: right; }
.mc-figures { display: flex; flex-wrap: wrap; gap: .6rem 2rem; margin: 0 0 .6rem; }
.mc-figure { font-size: 1.2rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.mc-end { font-size: .85rem; font-weight: 700; letter-spacing: .02em; }
.mc-a { color: var(--mc-a); } .mc-b { color: var(--mc-b); }
.mc-name { font-size: 1.2rem; font-weight: 600; line-height: 1.35; overflow-wrap: anywhere; margin: .1rem 0; }
.mc-between { padding-top: 2.4rem; font-size: .85rem; line-height: 1.5; color: var(--mc-quiet);
  text-align: center; overflow-wrap: anywhere; }
.mc-picture { width: 100%; max-width: 560px; height: auto; display: block; font-family: inherit; }
.mc-words { margin: 0; max-width: 34rem; } .mc-words dt { font-weight: 600; margin-top: .55rem; }
.mc-words dd { margin: .05rem 0 0; line-height: 1.5; }
.mc-differs { font-size: 1rem; overflow-wrap: anywhere; margin: .2rem 0 .1rem; font-weight: 500; }
.mc-between b, .mc-differs b { display: block; height: 4px; border-radius: 2px; margin: 0 0 .6rem;
  background: linear-gradient(90deg, var(--mc-a-edge), var(--mc-b-edge)); }
.mc-warn { font-size: .85rem; line-height: 1.5; font-weight: 600; color: var(--mc-text); margin: .4rem 0 0; }
.st-key-card-a, .st-key-card-b { border: 1px solid var(--mc-line); border-radius: 6px; padding: .8rem 1rem;
  background: var(--mc-ground); }
.st-key-card-a { border-left: 5px solid var(--mc-a-edge); }
.st-key-card-b { border-left: 5px solid var(--mc-b-edge); }
.st-key-strip { background: var(--mc-panel); border-radius: 6px; padding: .7rem 1rem .9rem; }
.st-key-stage { min-height: 480px; }
.st-key-status { min-height: 3.2rem; }
.st-key-header { border-bottom: 1px solid var(--mc-line); padding-bottom: .35rem; }
.mc-brand { font-size: 1rem; font-weight: 650; white-space: nowrap; }
.mc-brand i { display: inline-block; width: 1.6rem; height: .42rem; border-radius: 3px; margin-right: .55rem;
  background: linear-gradient(90deg, var(--mc-a-edge), var(--mc-b-edge)); vertical-align: .12rem; }
[role="tab"][aria-selected="true"], [role="tab"][aria-selected="true"] *,
  [data-testid="stButtonGroup"] button * { color: var(--mc-text); }
.mc-ways td.mc-left { white-space: nowrap; }
@media (max-width: 640px) { .mc-ways td.mc-left { white-space: normal; min-width: 8.5rem; } }
[data-testid="stCode"] .token.property { color: var(--mc-text) !important; }
.stMarkdown, .stCaption { overflow-wrap: anywhere; }
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p { color: var(--mc-quiet); opacity: 1; }
button kbd { opacity: 1 !important; }
[data-testid="stVegaLiteChart"] { overflow: hidden; }
@media (max-width: 700px) {
  .stMainBlockContainer { padding: 1.1rem 1rem 3rem; }
  .mc-lead, .mc-verdict { font-size: 1rem; }
  .mc-between { padding-top: 0; }
  .st-key-verdict, .st-key-label-order { flex-wrap: wrap; } .st-key-verdict > :first-child { flex: 0 0 100%; }
  .st-key-header { gap: .3rem 0; justify-content: space-between; } .st-key-header > :first-child { flex: 0 0 100%; }
  .st-key-header .stPageLink { margin: 0 -.3rem; }
  .st-key-stage { min-height: 440px; }
  .st-key-ways [role="radiogroup"] { flex-wrap: wrap; overflow: visible; max-width: 100%; }
}
"""


def set_up(title: str, page: str) -> None:
    """Begin a page: its title in the browser, style sheet, header."""
    st.set_page_config(
        page_title=title if title == TITLE else f"{title} · {TITLE}", layout="wide",
        initial_sidebar_state="collapsed", menu_items={"About": ABOUT},
    )  # fmt: skip
    colours = "".join(f"--mc-{name}: {value};" for name, value in COLOURS["dark" if dark() else "light"].items())
    st.html(f"<style>:root {{ {colours} }}{STYLE}</style>")
    with st.container(key="header", horizontal=True, vertical_alignment="center", gap="medium"):
        st.html(f'<span class="mc-brand"><i></i>{TITLE}</span>', width="content")
        for file, name in PAGES:
            st.page_link(file, label=f"**{name}**" if name == page else name)


def dark() -> bool:
    """Whether the visitor's theme is dark."""
    return st.context.theme.type == "dark"
