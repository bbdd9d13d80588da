"""Which files of a data set's repository make which split of which configuration, and what its card says of the columns.

Told by the card (the YAML at the head of README.md) where it names them, else by the usual names of files and folders.
A loading script is never run. What is read here is a stranger's: every name is one of the listing's, and plain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from posixpath import basename, join, normpath, splitext

from mcore.tasks.columns import ENDINGS, ClassNames

MOST_CARD = 4_000_000  # bytes of README.md
DEEPEST = 30  # levels of its YAML: the library crashes at some thousand
MOST_PATTERN = 300  # characters of a pattern for file names
MOST_COMPARED = 1_000_000  # patterns times file names
DEFAULT = "default"
CONVERTED = "refs/convert/parquet"  # where the Hub puts what it made of a data set itself
CONFIG = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")  # names that an address can have
PLAIN = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[^/\\\0-\x1f][^\\\0-\x1f]{0,300}")
DEALT = re.compile(r"-\d{5}-of-\d{5}(-[0-9a-f]+)?\.\w+$")  # train-00000-of-00001.parquet
FOLDERS = re.compile(r"(?P<config>[^/]+)/(?P<split>[^/]+)/\d{4,}\.parquet")  # what the Hub makes of a data set itself
WORDS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
NO_DATA = ("dataset_infos.json", "dataset_info.json", "state.json", "package.json", "metadata.json", "croissant.json")


@dataclass(frozen=True)
class Config:
    """One configuration: split -> its files in the order of their rows; column -> names of its classes, as the card tells."""

    splits: dict[str, tuple[str, ...]]
    classes: ClassNames = field(default_factory=dict)


def front_matter(text: str) -> dict:
    """The YAML between the first two lines of dashes. Raises ``ValueError``."""
    found = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*$", text, re.DOTALL | re.MULTILINE)
    if not found:
        return {}
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        level = 0
        for event in yaml.parse(found[1], Loader=loader):  # the loader's own recursion ends the process where it is too deep
            level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if level > DEEPEST:
                raise ValueError("it is nested too deeply")
        told = yaml.load(found[1], Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from None
    return told if isinstance(told, dict) else {}


def names(files: Iterable[str], card: dict) -> tuple[tuple[str, ...], str | None]:
    """The configurations, and the one that is meant where none is named (None: one has to be)."""
    told = _told(card)
    found = tuple(filter(CONFIG.fullmatch, told or _usual(_data(files))))
    chosen = [name for name, one in told.items() if one.get("default") is True] + [DEFAULT] + list(found)[: len(found) == 1]
    return found, next((name for name in chosen if name in found), None)


def config(files: Iterable[str], card: dict, name: str) -> Config:
    """One of the configurations. Raises ``ValueError``."""
    told, data = _told(card), _data(files)
    splits = _splits(told[name], data) if told else _usual(data)[name]
    infos = [one for one in _list(card.get("dataset_info")) if isinstance(one, dict)]
    infos = {told: one.get("features") for one in infos if isinstance(told := one.get("config_name", DEFAULT), str)}
    return Config(splits, _classes(infos.get(name, infos.get(DEFAULT))))


def _data(files: Iterable[str]) -> list[str]:
    return sorted(name for name in files if PLAIN.fullmatch(name) and splitext(name)[1] in ENDINGS and basename(name) not in NO_DATA)


def _told(card: dict) -> dict[str, dict]:
    """The configurations whose files the card names."""
    told = [one for one in _list(card.get("configs")) if isinstance(one, dict) and isinstance(one.get("config_name"), str)]
    return {one["config_name"]: one for one in told if "data_files" in one or "data_dir" in one}


def _splits(one: dict, names: list[str]) -> dict[str, tuple[str, ...]]:
    """The splits of a configuration as the card names their files."""
    folder = one.get("data_dir") if isinstance(one.get("data_dir"), str) else ""
    if "data_files" not in one:
        return _by_name([name for name in names if _under(name, folder)])
    data_files = one["data_files"]
    if isinstance(data_files, dict):
        data_files = [{"split": split, "path": path} for split, path in data_files.items()]
    splits: dict[str, tuple[str, ...]] = {}
    parts = [part if isinstance(part, dict) else {"split": "train", "path": part} for part in _list(data_files)]
    if sum(len(_list(part.get("path"))) for part in parts) * len(names) > MOST_COMPARED:
        raise ValueError("it names too many files")
    for part in parts:
        patterns = [normpath(join(folder, pattern)) for pattern in _list(part.get("path")) if isinstance(pattern, str)]
        matched = [name for pattern in patterns for name in names if _matches(name, pattern)]
        if matched and isinstance(part.get("split"), str):
            splits[part["split"]] = tuple(dict.fromkeys((*splits.get(part["split"], ()), *matched)))
    return splits


def _usual(names: list[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Configurations and their splits by the usual names of folders and files, where the card says nothing."""
    converted = [name for name in names if (found := FOLDERS.fullmatch(name)) and found["config"] not in {"data", *WORDS}]
    if converted:
        of = {name.split("/")[0]: {} for name in converted}
        for name in converted:
            config, split, _ = name.split("/")
            of[config][split] = (*of[config].get(split, ()), name)
        return of
    folders = {name.split("/")[0] for name in names if "/" in name and name.split("/")[0].lower() not in {"data", *WORDS}}
    rest = [name for name in names if name.split("/")[0] not in folders]
    of = {folder: _by_name([name for name in names if _under(name, folder)]) for folder in sorted(folders)}
    return ({DEFAULT: _by_name(rest)} if rest else {}) | of


def _by_name(names: list[str]) -> dict[str, tuple[str, ...]]:
    """Split -> files, of one format: the numbered files of a split, else the words that stand in names, else all are for training."""
    kinds = [ENDINGS[splitext(name)[1]] for name in names]
    kind = next((kind for kind in ("parquet", "csv", "json") if kind in kinds), None)
    names = [name for name, one in zip(names, kinds, strict=True) if one == kind]
    found = {name: split for name in names if (split := _dealt(basename(name)))} or {
        name: WORDS[word] for name in names if (word := _word(name))
    }
    splits: dict[str, tuple[str, ...]] = {}
    for name, split in (found or dict.fromkeys(names, "train")).items():
        splits[split] = (*splits.get(split, ()), name)
    return dict(sorted(splits.items(), key=lambda one: ("train", "validation", "test", one[0]).index(one[0])))


def _dealt(name: str) -> str:
    """The split of a numbered file; empty where it is none."""
    found = DEALT.search(name)
    return name[: found.start()].rsplit("-", 1)[-1] if found else ""


def _word(name: str) -> str | None:
    """The word for a split in a file's name, else in the names of its folders, the nearest first."""
    for part in reversed(splitext(name)[0].lower().split("/")):
        if word := next((word for word in re.split(r"[^a-z]+", part) if word in WORDS), None):
            return word
    return None


def _matches(name: str, pattern: str) -> bool:
    """Whether a file's name is what the pattern means; ``**`` stands for any folders, ``*`` for no stroke."""
    if len(pattern) > MOST_PATTERN:
        return False
    parts, wanted = tuple(name.split("/")), tuple(pattern.split("/"))

    @cache
    def fits(i: int, j: int) -> bool:
        if j == len(wanted):
            return i == len(parts)
        if wanted[j] == "**":
            return fits(i, j + 1) or (i < len(parts) and fits(i + 1, j))
        return i < len(parts) and fnmatchcase(parts[i], wanted[j].replace("**", "*")) and fits(i + 1, j + 1)

    return fits(0, 0)


def _under(name: str, folder: str) -> bool:
    folder = normpath(folder) if folder else "."
    return folder == "." or name.startswith(f"{folder}/")


def _classes(features: object) -> ClassNames:
    """Column -> names of its classes, of the features that a card lists."""
    found: ClassNames = {}
    for one in _list(features):
        kind = one.get("dtype") if isinstance(one, dict) else None
        names = kind.get("class_label", {}) if isinstance(kind, dict) else None
        names = names.get("names") if isinstance(names, dict) else None
        if isinstance(names, dict) and all(str(key).isdecimal() for key in names):
            names = [names[key] for key in sorted(names, key=lambda key: int(str(key)))]
        # A list is never written out: a few references in YAML stand for one of any length.
        if isinstance(names, list) and names and not any(isinstance(name, list | dict | set) for name in (one.get("name"), *names)):
            found[str(one.get("name"))] = list(map(str, names))
    return found


def _list(value: object) -> list:
    return value if isinstance(value, list) else [] if value is None else [value]
