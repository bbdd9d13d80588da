"""Who asks the Hub: whoever runs the app, or a visitor with a token of their own, which no other visitor's request carries.

A token lives in this context alone (a page's session, a job at work): it is never written anywhere.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mcore.profile import profile

_token: ContextVar[str | None] = ContextVar("token", default=None)
_pepper = secrets.token_bytes(32)  # of this process: what is derived from a token says nothing about it elsewhere


@contextmanager
def using(token: str | None) -> Iterator[None]:
    """Everything that is asked of the Hub in here is asked with this token."""
    before = _token.set(token or None)
    try:
        yield
    finally:
        _token.reset(before)


def token() -> str | bool | None:
    """What the clients are given: a visitor's token, else that of whoever runs the app (None: where there is one), which a host lends to nobody."""
    return _token.get() or (False if profile().hosted else None)


def private_part() -> str | None:
    """A name for what is read with the visitor's token, None where everybody reads the same. It does not tell the token."""
    own = _token.get()
    return hmac.new(_pepper, own.encode(), hashlib.sha256).hexdigest()[:32] if own else None
