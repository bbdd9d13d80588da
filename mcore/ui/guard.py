"""No traceback ever reaches a page: what can be told is told, what cannot is logged and told in one sentence."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mcore.errors import McoreError
from mcore.ui import visitor
from mcore.ui.html import show, text

log = logging.getLogger(__name__)


@contextmanager
def guarded() -> Iterator[None]:
    """Around what a page draws, for its visitor."""
    try:
        with visitor.asking():
            yield
    except McoreError as error:
        show(text(str(error), "error"))
    except Exception as error:  # the last line of defence of a page
        log.exception("A page could not be drawn.")
        show(
            text(
                f"Something unexpected went wrong ({type(error).__name__}). See the app's log, or load the page again.",
                "error",
            )
        )
