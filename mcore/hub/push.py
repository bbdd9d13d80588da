"""A saved model's folder to the Hub: a new repository, or a pull request on one that is there, with the token of who asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcore.errors import McoreError, QuestionError
from mcore.hub.access import has_token, how_to_give, token, whose
from mcore.hub.repositories import Refused
from mcore.taking import Take


def check_token(field: str) -> None:
    """Raises ``Refused`` where nobody has given a token."""
    if not has_token():
        raise Refused(field, "nothing is sent to the Hub without a token", f"{how_to_give()}; it needs the right to write")


def push(folder: Path, take: Take, title: str) -> str:
    """The address of what was made: the repository or the pull request. Raises ``QuestionError``, ``McoreError``."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=(os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None, token=token(private=True))
    # One commit, not ``upload_folder``: that one opens a pull request as a draft first, which its author has to publish by hand.
    files = [CommitOperationAdd(file.name, file) for file in sorted(folder.iterdir())]
    with _told(take):
        if take.pull_request:
            offered = api.create_commit(take.push, files, commit_message=title, create_pr=True)
            if offered.pr_url is None:
                raise QuestionError("push", f"{take.push} holds this very model already", "there is nothing to offer")
            return offered.pr_url
        url = str(api.create_repo(take.push, private=take.private, exist_ok=True))
        there = api.model_info(take.push, files_metadata=False)
        if {file.rfilename for file in there.siblings or ()} - {".gitattributes"} or (take.private and not there.private):
            raise QuestionError("push", f"{take.push} is there already", "name a new repository, or offer the model as a pull request")
        api.create_commit(take.push, files, commit_message=title)
        return url


@contextmanager
def _told(take: Take) -> Iterator[None]:
    """What the Hub refuses, as a sentence."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        yield
    except RepositoryNotFoundError:
        right = "check the name; without a pull request a new one is made" if take.pull_request else "check the name and the token"
        raise Refused("push", f"there is no repository {take.push} that {whose()} may write to", right) from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            right = "give a token with the right to write there, or name a repository of your own"
            raise Refused("push", f"{whose()} may not write to {take.push}", right) from None
        raise McoreError(f"The Hub did not take {take.push} (status {status}); the model is saved here: try again.") from None
    except (httpx2.HTTPError, OSError) as error:
        raise McoreError(f"The Hub could not be reached ({type(error).__name__}); the model is saved here: try again.") from None
