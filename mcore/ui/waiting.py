"""How a page waits: for the worker, how often it looks and what it says meanwhile; for the Hub, so that the page can be left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import nullcontext
from contextvars import copy_context
from typing import TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import add_script_run_ctx

from mcore.profile import profile
from mcore.ui.html import plain_label

POLL, POLL_HOSTED = 0.5, 2.0  # seconds between two looks at a running job; a host has many who look
GLANCE = 0.1  # seconds between two looks whether a person has done something
GLANCE_AT = "mc.glance"  # a name that nothing stands under
Answer = TypeVar("Answer")


def pause() -> float:
    """How long a page waits between two looks."""
    return POLL_HOSTED if profile().hosted else POLL


def queued(place: int | None, warm: bool) -> str:
    if not warm:
        return "Starting the worker: this takes a few seconds the first time"
    if place in (None, 1):
        return "Next in the queue"
    return f"In the queue: {place - 1} {'question is' if place == 2 else 'questions are'} ahead of this one"


def patiently(work: Callable[[], Answer], said: str = "") -> Answer:
    """What ``work`` returns or raises; meanwhile the page may say what it waits for, and what a person does ends the wait.

    The work itself goes on in a thread of its own: what it remembers is there for who asks next.
    """
    future: Future[Answer] = Future()

    def carry_out() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # told to the page, which raises it again
            future.set_exception(error)

    thread = threading.Thread(target=copy_context().run, args=(carry_out,), daemon=True)
    add_script_run_ctx(thread)
    with st.spinner(plain_label(said)) if said else nullcontext():
        thread.start()
        while not wait([future], GLANCE).done:
            st.session_state.get(GLANCE_AT)  # a run of a page is ended where it touches its session
        return future.result()
