"""Small random models, tokenizers and tasks for the tests: made in a second, saved as transformers saves them.

A tokenizer is trained once in a process, because training breaks ties between equally frequent pairs at random.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

torch.set_num_threads(1)  # more would only get into each other's way with models of this size

LABELS = ("no", "yes")
WORDS = [
    "she", "he", "they", "walked", "ran", "danced", "spoke", "wrote", "to", "from", "with", "the", "a", "an", "old",
    "young", "merry", "sad", "letter", "garden", "house", "ball", "sister", "brother", "cousin", "morning", "evening",
    "very", "quite", "rather", "happily", "slowly", "truth", "universally", "acknowledged", "single", "man", "fortune",
    "wife"
]  # fmt: skip
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "max_position_embeddings": 64}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def sentence(seed: int, longest: int = 24) -> str:
    """A sentence of a random length from a few words; equal for equal seeds."""
    draw = random.Random(seed)
    return " ".join(draw.choices(WORDS, k=draw.randint(1, longest)))


CORPUS = [sentence(-1 - i, 40) for i in range(200)]


@dataclass(frozen=True)
class Family:
    """How a kind of model is made: its configuration's class and values, and the tokenizer that goes with it."""

    config: type
    values: dict
    tokenizer: Callable[[], hf.PreTrainedTokenizerFast]
    body: str  # the prefix of everything but the head


@cache
def wordpiece(segments: bool = True) -> hf.PreTrainedTokenizerFast:
    """[PAD] is 0; ``segments``: gives token_type_ids."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ["input_ids", "token_type_ids", "attention_mask"] if segments else ["input_ids", "attention_mask"]
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_input_names=names, model_max_length=64,
    )  # fmt: skip


@cache
def byte_pairs() -> hf.PreTrainedTokenizerFast:
    """As RoBERTa has it: <s> 0, <pad> 1, </s> 2."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    made = _bpe(special)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
        cls_token="<s>", sep_token="</s>", model_input_names=["input_ids", "attention_mask"], model_max_length=62,
    )  # fmt: skip


@cache
def byte_pairs_without_padding() -> hf.PreTrainedTokenizerFast:
    """As GPT-2 has it: one special token, at the end of texts, and none that pads."""
    made = _bpe(["<|endoftext|>"])
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>",
        model_input_names=["input_ids", "attention_mask"], model_max_length=64,
    )  # fmt: skip


@cache
def byte_pairs_with_a_beginning() -> hf.PreTrainedTokenizerFast:
    """As Llama has it: <s> before every text, nothing after it, and no token that pads."""
    made = _bpe(["<unk>", "<s>", "</s>"])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>", model_input_names=["input_ids", "attention_mask"],
        model_max_length=64,
    )  # fmt: skip


@cache
def unigrams() -> hf.PreTrainedTokenizerFast:
    """As T5 has it: <pad> 0, </s> 1 after every text, words that begin with their space."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    letters = list("abcdefghijklmnopqrstuvwxyz0123456789.,:?!\"“()▁")
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>", initial_alphabet=letters, show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    made.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_input_names=["input_ids", "attention_mask"],
        model_max_length=64,
    )  # fmt: skip


def _bpe(special: list[str]) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(CORPUS, trainer)
    return made


ROBERTA = {**SHAPE, **NO_DROPOUT, "max_position_embeddings": 66, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}
FAMILIES = {
    "bert": Family(hf.BertConfig, SHAPE, wordpiece, "bert."),
    "minilm": Family(hf.BertConfig, {**SHAPE, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}, wordpiece, "bert."),
    "distilbert": Family(
        hf.DistilBertConfig,
        {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": 64},
        lambda: wordpiece(segments=False),
        "distilbert.",
    ),
    "electra": Family(hf.ElectraConfig, {**SHAPE, "embedding_size": 16}, wordpiece, "electra."),
    "albert": Family(hf.AlbertConfig, {**SHAPE, "embedding_size": 16, "num_hidden_groups": 1, "pad_token_id": 0}, wordpiece, "albert."),
    "deberta-v2": Family(
        hf.DebertaV2Config,
        {**SHAPE, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False, "norm_rel_ebd": "layer_norm",
         "share_att_key": True, "position_buckets": 16, "conv_kernel_size": 3, "conv_act": "gelu", "type_vocab_size": 0},
        wordpiece,
        "deberta.",
    ),
    "deberta": Family(
        hf.DebertaConfig, {**SHAPE, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0}, wordpiece, "deberta."
    ),
    "modernbert": Family(
        hf.ModernBertConfig,
        {**SHAPE, "pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3,
         "global_attn_every_n_layers": 2, "local_attention": 8},
        lambda: wordpiece(segments=False),
        "model.",
    ),
    "roberta": Family(hf.RobertaConfig, ROBERTA, byte_pairs, "roberta."),
    "xlm-roberta": Family(hf.XLMRobertaConfig, ROBERTA, byte_pairs, "roberta."),
    "mpnet": Family(
        hf.MPNetConfig, {**SHAPE, "max_position_embeddings": 66, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}, byte_pairs, "mpnet."
    ),
    "gpt2": Family(
        hf.GPT2Config, {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "bos_token_id": 0, "eos_token_id": 0},
        byte_pairs_without_padding, "transformer.",
    ),
    "bart": Family(  # its embeddings are tied under three names
        hf.BartConfig,
        {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
         "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64, "pad_token_id": 1, "bos_token_id": 0,
         "eos_token_id": 2, "decoder_start_token_id": 2, "forced_eos_token_id": 2},
        byte_pairs,
        "model.",
    ),
}  # fmt: skip

LANGUAGE = {  # families of language models that are no classifiers here
    "gpt-neox": Family(
        hf.GPTNeoXConfig, {**SHAPE, "bos_token_id": 0, "eos_token_id": 0}, byte_pairs_without_padding, "gpt_neox."
    ),
    "llama": Family(
        hf.LlamaConfig, {**SHAPE, "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2}, byte_pairs_with_a_beginning, "model."
    ),
    "t5": Family(
        hf.T5Config,
        {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2, "pad_token_id": 0, "eos_token_id": 1,
         "decoder_start_token_id": 0, "dropout_rate": 0.0},
        unigrams,
        "",
    ),
}  # fmt: skip
EVERY = FAMILIES | LANGUAGE


def model(family: str, seed: int, labels: Sequence[str] = LABELS, opener: type = hf.AutoModelForSequenceClassification):
    """A random model; every parameter is away from its initial value, so that a tensor that is missed is noticed."""
    kind = EVERY[family]
    names = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = opener.from_config(kind.config(vocab_size=len(kind.tokenizer()), **kind.values, **names))
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.15 * torch.randn_like(parameter))
    return made.eval()


def save(folder: Path, family: str, seed: int, labels: Sequence[str] = LABELS, opener: type = hf.AutoModelForSequenceClassification, **how) -> Path:
    """A folder that save_pretrained wrote, model and tokenizer. ``how`` is handed to save_pretrained."""
    model(family, seed, labels, opener).save_pretrained(folder, **how)
    EVERY[family].tokenizer().save_pretrained(folder)
    return folder


def task(file: Path, rows: int = 24, labels: Sequence[str] = LABELS, pairs: bool = False, seed: int = 0) -> Path:
    """A csv file with the columns text (or first and second) and label; every label occurs."""
    columns = ["first", "second", "label"] if pairs else ["text", "label"]
    with open(file, "w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(columns)
        for i in range(rows):
            texts = [f"{sentence(1000 * seed + 2 * i + k)} {i}" for k in range(len(columns) - 1)]
            writer.writerow([*texts, labels[(i * 7 + i // 3) % len(labels)]])
    return file


def learnable(file: Path, rows: int = 160, seed: int = 0) -> Path:
    """A csv file whose label a small model learns: whether "merry" or "sad" is in the text."""
    with open(file, "w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["text", "label"])
        for i in range(rows):
            words = [word for word in sentence(7000 * (seed + 1) + i, 8).split() if word not in ("merry", "sad")]
            writer.writerow([" ".join([*words, ("sad", "merry")[i % 2], str(i)]), LABELS[i % 2]])
    return file


def experiment(a: Path | str | dict, b: Path | str | dict, *tasks: Path | dict, points=3, **more) -> dict:
    """An experiment as a person writes it; paths stand for local: addresses."""
    at = [f"local:{end}" if isinstance(end, Path) else end for end in (a, b)]
    asked = [{"task": f"local:{one}", "max_length": 16} if isinstance(one, Path) else one for one in tasks]
    return {"version": 1, "a": at[0], "b": at[1], "tasks": asked, "points": points, **more}


def write(file: Path, value: object) -> Path:
    file.write_text(value if isinstance(value, str) else json.dumps(value))
    return file
