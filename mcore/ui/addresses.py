"""What a person pastes into a name field, understood: a Hub page, a folder, a bare name. No Streamlit here."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from mcore.models.checkpoints import families
from mcore.profile import profile
from mcore.question import SCHEMES

HUB = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(datasets/)?([^/\s]+/[^/\s?#]+)(?:/tree/([^/\s?#]+))?.*"
)


DATA = re.compile(  # a page of a data set, perhaps of one of its configurations
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/datasets/([^/\s]+/[^/\s?#]+)(?:/viewer/([^/\s?#]+)|/tree/([^/\s?#]+))?.*"
)


def checkpoint(words: str) -> str:
    """An address of a checkpoint: ``hub:``, ``builtin:`` or ``local:``."""
    words = words.strip().strip("\"'")
    if words.startswith(SCHEMES):
        return words
    if found := HUB.fullmatch(words):
        return f"hub:{found[2]}" + (f"@{unquote(found[3])}" if found[3] else "")
    if words.partition("@")[0] in families():
        return f"builtin:{words}"
    return _path_or_hub(words)


def data(words: str) -> str:
    """An address of labelled rows."""
    words = words.strip().strip("\"'")
    if words.startswith(SCHEMES):
        return words
    if found := DATA.fullmatch(words):
        return f"hub:{found[1]}" + (f"/{unquote(found[2])}" if found[2] else "") + (f"@{unquote(found[3])}" if found[3] else "")
    if found := HUB.fullmatch(words):
        return f"hub:{found[2]}"
    return _path_or_hub(words, most=2)


def _path_or_hub(words: str, most: int = 1) -> str:
    """``most``: slashes that a name on the Hub has here."""
    looks_like_hub = re.fullmatch(rf"[\w.-]+(/[\w.-]+){{1,{most}}}(@\S+)?", words) and Path(words).suffix not in (
        ".csv",
        ".tsv",
        ".jsonl",
        ".parquet",
    )
    is_file = not looks_like_hub or (not profile().hosted and Path(words).expanduser().exists())
    return f"local:{words}" if is_file else f"hub:{words}"
