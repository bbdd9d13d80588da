"""Pre-train the family that ships with the app: ``python tools/pretrain.py --data DIR``.

A small BERT, from scratch, by masked language modelling on the training split of ``corpus.py``;
the validation split is what the held-out figures are measured on. Every step in ``SAVED`` becomes
a folder that transformers loads by itself. The model card is written last, from the measured numbers.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import torch
from corpus import emails, novels, split_of
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

OUT = Path(__file__).parent.parent / "mcore" / "builtin" / "austen"
SAVED = (0, 100, 300, 1000, 2000, 4000, 7000)
VOCABULARY, TOKENS_PER_STEP, MASKED = 4096, 4096, 0.15
SHORT, LONG, LONG_EVERY = 64, 128, 8  # short pieces learn faster; a long one now and then trains the far positions
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def texts(folder: Path, split: str) -> list[str]:
    """Paragraphs of the novels and e-mails (all groups) of one split, shuffled."""
    pool = [p for book in novels(folder).values() for p in book] + [m["text"] for m in emails(folder)]
    pool = [text for text in pool if split_of(text) == split]
    random.Random(0).shuffle(pool)
    return pool


def train_tokenizer(pool: list[str]) -> BertTokenizerFast:
    wordpiece = BertWordPieceTokenizer(lowercase=True)
    wordpiece.train_from_iterator(pool, vocab_size=VOCABULARY, min_frequency=2, special_tokens=SPECIAL, show_progress=False)
    return BertTokenizerFast(tokenizer_object=wordpiece._tokenizer, model_max_length=LONG, do_lower_case=True)


def stream(pool: list[str], tokenizer: BertTokenizerFast) -> torch.Tensor:
    """All texts as one row of token ids, [SEP] between them."""
    encoded = tokenizer(pool, add_special_tokens=False, verbose=False)["input_ids"]
    return torch.tensor([token for ids in encoded for token in (*ids, tokenizer.sep_token_id)])


def cut(tokens: torch.Tensor, length: int, generator: torch.Generator, cls: int) -> torch.Tensor:
    """Pieces [TOKENS_PER_STEP / length, length] at random offsets, each with [CLS] first."""
    count = TOKENS_PER_STEP // length
    starts = torch.randint(len(tokens) - length, (count,), generator=generator)
    pieces = tokens[starts[:, None] + torch.arange(length - 1)]
    return torch.cat([torch.full((count, 1), cls), pieces], dim=1)


def mask(pieces: torch.Tensor, generator: torch.Generator, mask_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Masked pieces and the chosen positions (both [count, length]); 80 % masked, 10 % random, 10 % kept."""
    chosen = (torch.rand(pieces.shape, generator=generator) < MASKED) & (pieces >= len(SPECIAL))
    fate = torch.rand(pieces.shape, generator=generator)
    noise = torch.randint(len(SPECIAL), VOCABULARY, pieces.shape, generator=generator)
    masked = torch.where(chosen & (fate < 0.8), mask_id, pieces)
    return torch.where(chosen & (fate >= 0.9), noise, masked), chosen


def predict(model: BertForMaskedLM, masked: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Logits [chosen positions, vocabulary]; the output layer runs on the chosen positions only."""
    return model.cls(model.bert(input_ids=masked).last_hidden_state[chosen])


@torch.no_grad()
def lay_out_positions(model: BertForMaskedLM) -> None:
    """Begin the (learned) position embeddings as sinusoids of the other embeddings' size.

    From white noise a model this small spends thousands of steps before it finds its neighbours.
    """
    weight = model.bert.embeddings.position_embeddings.weight
    place = torch.arange(len(weight))[:, None]
    angle = place / 10000 ** (torch.arange(0, weight.shape[1], 2) / weight.shape[1])
    weight.copy_(torch.cat([angle.sin(), angle.cos()], dim=1) * model.config.initializer_range * 2**0.5)


@torch.inference_mode()
def held_out(model: BertForMaskedLM, batches: list[tuple]) -> dict[str, float]:
    model.eval()
    loss = right = count = 0
    for pieces, masked, chosen in batches:
        logits, truth = predict(model, masked, chosen).float(), pieces[chosen]
        loss += torch.nn.functional.cross_entropy(logits, truth, reduction="sum").item()
        right += (logits.argmax(-1) == truth).sum().item()
        count += len(truth)
    model.train()
    return {"held_out_loss": round(loss / count, 4), "held_out_masked_accuracy": round(right / count, 4)}


def save(model: BertForMaskedLM, tokenizer: BertTokenizerFast, step: int) -> None:
    state = {k: v.clone() for k, v in model.state_dict().items()}
    model.half().save_pretrained(OUT / str(step))
    model.float().load_state_dict(state)  # training goes on in the full precision it had
    tokenizer.save_pretrained(OUT / str(step))


def write_card() -> None:
    """The model card, from the figures that were measured."""
    numbers = json.loads((OUT / "numbers.json").read_text())
    rows = [
        f"| {step} | {format(told['train_loss'], '.3f') if told['train_loss'] else '–'} | {told['held_out_loss']:.3f} "
        f"| {told['held_out_masked_accuracy']:.1%} |"
        for step, told in numbers.items()
    ]
    (OUT / "README.md").write_text(CARD.replace("ROWS", "\n".join(rows)), encoding="utf-8")


CARD = """---
license: mit
library_name: transformers
language: en
---
# austen: a small BERT with a history

A BERT pre-trained from scratch so that mode connectivity can be explored along pre-training without a download:
4 layers, hidden 128, 4 heads, feed-forward 512, up to 128 tokens, a lower-case WordPiece vocabulary of 4,096;
1.4 million parameters. One folder a pre-training step (`0` is the initialisation), float16 safetensors, each loadable by
transformers alone. It is an instrument, not a language model to build on.

## Data and licence
76 % of the paragraphs of Jane Austen's six novels (Project Gutenberg, public domain) and of the e-mail bodies of the
SpamAssassin public corpus (first 200 words; PDDL-1.0, contents CC0), 1.04 million words. Splits go by a hash of the text
(`tools/corpus.py`), the same for pre-training and for the tasks, so nothing that a task evaluates was read.
The e-mails are real e-mail of 2002, spam included, and the model repeats what was in them. The weights are MIT-licensed.

## Recipe
Masked language modelling (15 %; 80/10/10), 4,096 tokens a step in pieces cut at random offsets: seven steps of 64 × 64
tokens, then one of 32 × 128. AdamW, learning rate 2e-3 (β 0.9, 0.98; weight decay 0.01), 300 steps of warm-up, then linear
to 5 %; gradient clipping 1.0; no dropout; bfloat16 autocast. Initial range 0.04, the position embeddings begun as sinusoids
of that size. `python tools/pretrain.py --data DIR` makes it again.

## Numbers
On 131,072 tokens of held-out text (12 % of the paragraphs and e-mails), loss in nats and accuracy on masked positions;
the training loss is the mean of the last 100 steps.

| step | training loss | held-out loss | held-out masked accuracy |
|---:|---:|---:|---:|
ROWS
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=SAVED[-1])
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--initializer-range", type=float, default=0.04)
    options = parser.parse_args()

    pool = texts(options.data, "train")
    tokenizer = train_tokenizer(pool)
    tokens, validation = stream(pool, tokenizer), stream(texts(options.data, "validation"), tokenizer)
    print(f"{sum(len(t.split()) for t in pool)} words, {len(tokens)} tokens, vocabulary {len(tokenizer)}", flush=True)

    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(
        vocab_size=VOCABULARY, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512,
        max_position_embeddings=LONG, initializer_range=options.initializer_range, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pad_token_id=0,
    ))  # fmt: skip
    lay_out_positions(model)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    warmup, floor = 300, 0.05
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: (s + 1) / warmup if s < warmup else 1 - (1 - floor) * (s - warmup) / (options.steps - warmup)
    )
    chance = torch.Generator().manual_seed(0)
    fixed = torch.Generator().manual_seed(1)
    batches = []
    for _ in range(32):
        pieces = cut(validation, SHORT, fixed, tokenizer.cls_token_id)
        batches.append((pieces, *mask(pieces, fixed, tokenizer.mask_token_id)))

    numbers, recent, started = {}, [], time.time()
    for step in range(options.steps + 1):
        if step in SAVED:
            save(model, tokenizer, step)
            numbers[step] = {"train_loss": round(sum(recent) / len(recent), 4) if recent else None, **held_out(model, batches)}
            print(step, numbers[step], f"{time.time() - started:.0f} s", flush=True)
            (OUT / "numbers.json").write_text(json.dumps(numbers, indent=1) + "\n")
        if step == options.steps:
            break
        pieces = cut(tokens, SHORT if (step + 1) % LONG_EVERY else LONG, chance, tokenizer.cls_token_id)
        masked, chosen = mask(pieces, chance, tokenizer.mask_token_id)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = predict(model, masked, chosen)
        loss = torch.nn.functional.cross_entropy(logits.float(), pieces[chosen])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        recent = [*recent[-99:], loss.item()]
        if step % 50 == 0:
            print(step, f"{recent[-1]:.3f} {time.time() - started:.0f} s", flush=True)
    write_card()


if __name__ == "__main__":
    main()
