"""Who is asking: a random name for each session, and what that session has asked for.

The name never stands in an address, so a link shares a question and nothing else. On a host, what others
trained and computed is shown only to who asks the same question.
"""

from __future__ import annotations

import secrets

import streamlit as st

from mcore.profile import profile

NAME, ASKED = "mc.visitor", "mc.asked"


def name() -> str:
    """This session's visitor."""
    return st.session_state.setdefault(NAME, secrets.token_hex(16))


def remember(*fingerprints: str) -> None:
    """The visitor has asked for these: questions, models."""
    st.session_state.setdefault(ASKED, set()).update(fingerprints)


def may_see(fingerprint: str) -> bool:
    """Whether a question or a model may be listed for this visitor: on a host, if they asked for it."""
    return not profile().hosted or has_asked(fingerprint)


def has_asked(fingerprint: str) -> bool:
    return fingerprint in st.session_state.get(ASKED, ())
