"""What the Hub refuses or fails at, as sentences that say what can be done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mcore.errors import QuestionError, first_line
from mcore.hub.access import has_token, how_to_give, whose
from mcore.hub.cache import Kind


class NoAnswer(QuestionError):
    """The network or the Hub failed: asking again may help."""


class Refused(QuestionError):
    """Only a token, or another one, may read this."""


@contextmanager
def told_of(repo: str, revision: str, field: str, kind: Kind) -> Iterator[None]:
    """What the Hub refuses, as a sentence that says what can be done."""
    import httpx2
    from huggingface_hub import errors

    page = f"{endpoint() or 'https://huggingface.co'}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    try:
        yield
    except errors.GatedRepoError:
        if has_token():
            wrong, then = f"{repo} is gated, and {whose()} may not read it yet", "with the account that the token belongs to, and try again"
        else:
            wrong, then = f"{repo} is gated", f"then {how_to_give()}"
        raise Refused(field, wrong, f"accept its licence at {page}, {then}") from None
    except errors.RepositoryNotFoundError:
        what = "data set" if kind == "dataset" else "repository"
        reader, right = (whose(), "check the name, and that the token's account may read it") if has_token() else (
            "this machine", f"check the name; for a private one {how_to_give()}"
        )  # fmt: skip
        raise Refused(field, f"there is no {what} {repo} that {reader} may read", right) from None
    except errors.RevisionNotFoundError:
        raise QuestionError(field, f"{repo} has no revision {revision!r}", "name a branch, a tag, refs/pr/N or a commit") from None
    except errors.RemoteEntryNotFoundError as error:
        raise QuestionError(field, f"{repo} lacks a file ({first_line(error)})", "choose another revision") from None
    except (errors.HfHubHTTPError, httpx2.HTTPError, errors.LocalEntryNotFoundError, OSError, ValueError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == 429:
            raise NoAnswer(field, f"the Hub asks for a pause before it says more of {repo}", "try again in a minute") from None
        if status == 401 and has_token():
            raise Refused(field, f"the Hub does not know {whose()}", f"it may have expired or be cut short: {how_to_give()}") from None
        if status == 403 and has_token():
            raise Refused(field, f"{whose()} may not read {repo}", "give it the right to read that repository on the Hub") from None
        raise NoAnswer(field, f"the Hub did not answer for {repo} ({first_line(error)})", "check the network and try again") from None


def endpoint() -> str | None:
    """The Hub's address where the environment names another one than usual."""
    return (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None
