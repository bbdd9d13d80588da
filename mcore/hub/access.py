"""Who asks the Hub: whoever runs the app, or a visitor with a token of their own, which no other visitor's request carries.

A token lives in this context alone (a page's session, a job at work): it is never written anywhere. It goes out only with
what is asked of a repository that is read with a token: a public one never sees it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mcore.profile import profile

SHAPE = re.compile(r"[A-Za-z0-9_.-]{8,200}")  # nothing that a header or a line of JSON would stumble over

_token: ContextVar[str | None] = ContextVar("token", default=None)  # "": a visitor without one; None: no visitor, the command line
_pepper = secrets.token_bytes(32)  # of this app, its page and its worker: what is derived from a token says nothing about it elsewhere


@contextmanager
def using(token: str | None) -> Iterator[None]:
    """Everything that is asked of the Hub in here is asked for a visitor, with this token where one is needed."""
    before = _token.set(token or "")
    try:
        yield
    finally:
        _token.reset(before)


def token(private: bool = False) -> str | bool | None:
    """What the clients are given: for what is read with a token a visitor's own, else that of whoever runs the app, which a host lends to nobody.

    False: none. None: where there is one, in the environment or in the login's file.
    """
    if not private:
        return False
    return _token.get() or (False if profile().hosted else None)


def has_token() -> bool:
    """Whether ``token(private=True)`` is one."""
    from huggingface_hub import get_token

    return bool(_token.get()) or (not profile().hosted and get_token() is not None)


def how_to_give() -> str:
    """How a person gives a token where there is none yet."""
    if _token.get() is None:
        return "set HF_TOKEN or log in with: hf auth login"
    return "type a token here" if profile().hosted else "type a token here, or set HF_TOKEN"


def whose() -> str:
    """Names the token in a sentence, without telling it."""
    return "the token that was typed" if _token.get() else "the token of this machine (HF_TOKEN or the login's)"


def private_part() -> str | None:
    """A name for what is read with the visitor's token, None where everybody reads the same. It does not tell the token."""
    own = _token.get()
    return hmac.new(_pepper, own.encode(), hashlib.sha256).hexdigest()[:32] if own else None


def house() -> str:
    """A name for this app, its page and its worker, under which ``private_part`` means something."""
    return hmac.new(_pepper, b"house", hashlib.sha256).hexdigest()[:32]


def pepper() -> str:
    """For this app's worker, so that both name the same things alike."""
    return _pepper.hex()


def share(pepper: str) -> None:
    """Name things as the app does that told its ``pepper``."""
    global _pepper
    _pepper = bytes.fromhex(pepper)
