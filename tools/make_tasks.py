"""Write the tasks that ship with the app: ``python tools/make_tasks.py --data DIR``.

Each task is three small parquet files (train, validation, test) with the columns ``text`` and
``label``, and an entry in ``tasks.json`` that declares it. Seeded: a second run writes the same rows.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from corpus import digest, emails, novels, sentences, split_of

OUT = Path(__file__).parent.parent / "mcore" / "builtin" / "tasks"
AUSTEN = "public domain (Project Gutenberg)"
MAIL = "PDDL-1.0 (database), CC0 (contents): SpamAssassin public corpus"
MOST = {"train": 8000, "validation": 1500, "test": 1500}
SPAM_WORDS = 60
CAPITALISED_BUT_NO_NAME = set(
    "I Mr Mrs Miss Sir Lady Lord Dr Captain Colonel Admiral Madam God Heaven English French Christmas Sunday Monday Tuesday "
    "Wednesday Thursday Friday Saturday January February March April May June July August September October November December"
    .split()
)

Rows = dict[str, list[tuple[str, int]]]


def speech(books: dict[str, list[str]]) -> Rows:
    rows: Rows = defaultdict(list)
    for paragraph in (p for book in books.values() for p in book):
        for index, segment in enumerate(paragraph.split('"')):
            spoken = index % 2
            rows[split_of(paragraph)] += [(s, spoken) for s in sentences(segment.strip()) if 6 <= len(s.split()) <= 45]
    return rows


def names_of(books: dict[str, list[str]]) -> re.Pattern:
    """Words that stand capitalised inside sentences and hardly ever in lower case: characters and places."""
    inside, lower = Counter(), Counter()
    for paragraph in (p for book in books.values() for p in book):
        inside.update(re.findall(r"(?<=[a-z,;] )[A-Z][a-z]+(?:-[A-Z][a-z]+)?", paragraph))
        lower.update(re.findall(r"\b[a-z]+\b", paragraph))
    names = {w for w, n in inside.items() if n >= 2 and n > 4 * lower[w.lower()] and w not in CAPITALISED_BUT_NO_NAME}
    return re.compile(r"\b(?:" + "|".join(sorted(names, key=len, reverse=True)) + r")\b")


def novel(books: dict[str, list[str]], masked: bool = True) -> Rows:
    """Passages of 30 to 50 words; without ``masked`` they keep their names, by which a model soon knows a novel."""
    names = names_of(books) if masked else re.compile("(?!)")
    rows: Rows = defaultdict(list)
    for label, book in enumerate(books.values()):
        for paragraph in book:
            passage: list[str] = []
            for word in re.sub(r"\bNAME(?: NAME)+\b", "NAME", names.sub("NAME", paragraph)).replace('"', "").split():
                passage.append(word)
                if (len(passage) >= 30 and word[-1] in ".!?;") or len(passage) == 50:
                    rows[split_of(paragraph)].append((" ".join(passage), label))
                    passage = []
    return rows


def order(texts: list[str]) -> Rows:
    """Half of the sentences with two words, two to six places apart, exchanged."""
    rows: Rows = defaultdict(list)
    for text in texts:
        for sentence in sentences(text.replace('"', "")):
            words = sentence.split()
            if not 8 <= len(words) <= 30 or len(re.findall(r"\b[A-Za-z]+\b", sentence)) < 0.8 * len(words):
                continue
            chance = random.Random(sentence)
            label = chance.random() < 0.5
            plain = [i for i in range(1, len(words) - 1) if re.fullmatch(r"[a-z]+", words[i])]
            pairs = [(i, j) for i in plain for j in plain if 2 <= j - i <= 6 and words[i] != words[j]]
            if not pairs:
                continue
            if label:
                i, j = chance.choice(pairs)
                words[i], words[j] = words[j], words[i]
            rows[split_of(text)].append((" ".join(words), int(label)))
    return rows


def spam(mails: list[dict], period: int) -> Rows:
    rows: Rows = defaultdict(list)
    for mail in mails:
        if mail["group"] in (f"easy-ham-{period}", f"spam-{period}"):
            rows[split_of(mail["text"])].append((" ".join(mail["text"].split()[:SPAM_WORDS]), mail["label"]))
    return rows


def finish(rows: Rows, balance: bool) -> Rows:
    """Drop repeats within and across splits, balance, cut, shuffle.

    A repeat stays in the training split, which pre-training reads, so that no evaluation row was read there;
    words in another order are a repeat, too.
    """
    done: Rows = {}
    seen: set[float] = set()
    for split in ("train", "validation", "test"):
        groups: dict[int, list] = defaultdict(list)
        for text, label in rows[split]:
            if (key := digest(" ".join(sorted(text.lower().split())))) not in seen:
                seen.add(key)
                groups[label].append((text, label))
        chance = random.Random(f"{split}")
        for group in groups.values():
            chance.shuffle(group)
        if balance:
            size = min(min(map(len, groups.values())), MOST[split] // len(groups))
            groups = {label: group[:size] for label, group in groups.items()}
        done[split] = [row for label in sorted(groups) for row in groups[label]]
        chance.shuffle(done[split])
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    books, mails = novels(data), emails(data)
    paragraphs = [p for book in books.values() for p in book]
    tasks = {
        "speech": (speech(books), True, ["narrated", "spoken"], AUSTEN,
                   "Is this sentence of Jane Austen spoken by a character or told by the narrator?"),
        "novel": (novel(books), True, list(books), AUSTEN,
                  "Which of Jane Austen's six novels is this passage from? Names are replaced by NAME, so style has to tell."),
        "order-austen": (order(paragraphs), True, ["in order", "swapped"], AUSTEN,
                         "Have two words of this sentence from Jane Austen changed places?"),
        "order-mail": (order([m["text"] for m in mails]), True, ["in order", "swapped"], MAIL,
                       "Have two words of this sentence from an e-mail changed places?"),
        "spam-1": (spam(mails, 1), False, ["ham", "spam"], MAIL, "Is this e-mail spam? The corpus's first period."),
        "spam-2": (spam(mails, 2), False, ["ham", "spam"], MAIL, "Is this e-mail spam? The corpus's second period."),
    }
    declared = {}
    for name, (rows, balance, labels, licence, description) in tasks.items():
        rows = finish(rows, balance)
        for split, pairs in rows.items():
            texts, numbers = zip(*pairs, strict=True)
            table = pa.table({"text": list(texts), "label": pa.array(numbers, pa.int8())})
            (OUT / name).mkdir(parents=True, exist_ok=True)
            pq.write_table(table, OUT / name / f"{split}.parquet", compression="zstd", compression_level=19)
        declared[name] = declaration(description, labels, licence, [name], [rows])
        print(name, {s: len(r) for s, r in rows.items()}, declared[name]["constant_baseline"])
        tasks[name] = (rows, balance, labels, licence, description)
    declared["spam"] = declaration("Is this e-mail spam? Both periods together.", ["ham", "spam"], MAIL,
                                   ["spam-1", "spam-2"], [tasks["spam-1"][0], tasks["spam-2"][0]])
    (OUT / "tasks.json").write_text(json.dumps(declared, indent=1) + "\n")


def declaration(description: str, labels: list[str], licence: str, parts: list[str], rows: list[Rows]) -> dict:
    """``constant_baseline``: the accuracy on validation rows of always naming the most frequent label there."""
    counts = Counter(label for part in rows for _, label in part["validation"])
    return {
        "description": description,
        "labels": labels,
        "licence": licence,
        "parts": parts,
        "rows": {split: sum(len(part[split]) for part in rows) for split in ("train", "validation", "test")},
        "constant_baseline": round(max(counts.values()) / counts.total(), 4),
    }


if __name__ == "__main__":
    main()
