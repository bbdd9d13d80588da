"""Who is asking: a random name for each session, its own token for the Hub if one was typed, and what it has asked for.

The name never stands in an address, so a link shares a question and nothing else. On a host, what others
trained and computed is shown only to who asks the same question.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from mcore.hub import access
from mcore.profile import profile

NAME, ASKED, TOKEN = "mc.visitor", "mc.asked", "mc.token"


def name() -> str:
    """This session's visitor."""
    return st.session_state.setdefault(NAME, secrets.token_hex(16))


def token() -> str | None:
    """What this session's visitor has typed, which stands under this one key."""
    return st.session_state.get(TOKEN)


@contextmanager
def asking() -> Iterator[None]:
    """What is asked of the Hub in here is asked for this visitor."""
    with access.using(token()):
        yield


def remember(*fingerprints: str) -> None:
    """The visitor has asked for these: questions, models."""
    st.session_state.setdefault(ASKED, set()).update(fingerprints)


def may_see(fingerprint: str) -> bool:
    """Whether a question or a model may be listed for this visitor: on a host, if they asked for it."""
    return not profile().hosted or has_asked(fingerprint)


def has_asked(fingerprint: str) -> bool:
    return fingerprint in st.session_state.get(ASKED, ())
