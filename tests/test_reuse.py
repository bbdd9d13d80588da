"""What stands still is computed once: the same responses bit for bit on any model, found by trying, proven, bounded, and nothing stays on the model."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import peft
import pytest
import tiny
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from mcore import plan
from mcore.coefficients import Path, moves
from mcore.errors import Cancelled
from mcore.evaluation import responses
from mcore.evaluation.evaluate import has_bfloat16, logits, prepare
from mcore.live import reuse
from mcore.live.blend import Place, WeightSet
from mcore.live.calls import still_calls
from mcore.live.model import Live, open_live
from mcore.live.reuse import Reuse
from mcore.models.checkpoints import look_at
from mcore.question import PathSpec, parse
from mcore.resolve import resolve
from mcore.run import run
from mcore.store import Store
from mcore.tasks.batches import Batch, make_batches

TEXTS = [tiny.sentence(seed) for seed in range(60)]
TS = (0.0, 1.0, 0.5, 0.25)
UNSPLIT = {"albert", "bart"}  # whose one layer is every layer; whose encoder and decoder have one layer each


def opened(a, b, move, store, precision="float32"):
    """A live model on a partial path, the names that move on it, and batches."""
    live = open_live(*(look_at(folder, f"local:{folder}", side) for side, folder in (("a", a), ("b", b))), "a", store)
    spec = PathSpec(kind="partial", move=move, rest="a")
    live = replace(live, path=Path(spec, output_layer=live.output_layer))
    prepare(live.model, precision)
    batches = make_batches(live.tokenizer, TEXTS, 48, live.model.config.get_text_config().pad_token_id, 256)
    return live, live.output_layer | {name for name in live.tensors if moves(name, move, live.output_layer)}, batches


def along(live, batches, remembered=None, ts=TS, **how):
    found = []
    for t in ts:
        live.place_body(live.path.at(t))
        live.place_head(live.path.at(t), "both")
        found.append(logits(live.model, batches, reuse=remembered, **how))
    return found


def counted(module):
    """Counts, from now on, what a module computes itself."""
    calls, own = Counter(), module.forward
    module.forward = lambda *args, **kwargs: (calls.update(["all"]), own(*args, **kwargs))[1]
    return calls


def same(some, others):
    return len(some) == len(others) and all(np.array_equal(*pair) for pair in zip(some, others, strict=True))


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_the_logits_are_those_of_the_whole_model_bit_for_bit(family, saved, store):
    ends = [saved(family, seed) for seed in (1, 2)]
    for move in (["head"], ["layers:1-1", "head"]):
        live, moving, batches = opened(*ends, move, store)
        whole = along(live, batches)
        live, moving, batches = opened(*ends, move, store)
        remembered = Reuse.between(live, moving)
        assert same(along(live, batches, remembered), whole)
        assert remembered.bytes > 0 or (family in UNSPLIT and len(move) > 1)
        assert not any("forward" in module.__dict__ or module._forward_hooks or module._forward_pre_hooks for module in live.model.modules())
        assert not any(parameter.requires_grad for parameter in live.model.parameters())


def test_what_stands_still_runs_at_the_first_point_and_once_more_to_prove_it(saved, store, monkeypatch):
    monkeypatch.setattr("mcore.evaluation.evaluate.trimmed", lambda *_: nullcontext())  # whose search runs the whole model
    live, moving, batches = opened(saved("minilm", 1), saved("minilm", 2), ["layers:2-2", "head"], store)
    remembered = Reuse.between(live, moving)
    lower, upper = (counted(live.model.bert.encoder.layer[i]) for i in (1, 2))
    kinds = len({frozenset(batch.inputs) for batch in batches})
    along(live, batches, remembered, TS[:1])
    first = Counter(lower)
    assert len(batches) < first["all"] <= len(batches) + 2 * kinds  # and the trials
    along(live, batches, remembered, TS[1:2])
    proven = Counter(lower)
    assert proven["all"] - first["all"] == kinds
    before = upper["all"]
    along(live, batches, remembered, TS[2:])
    assert lower == proven and upper["all"] == before + 2 * len(batches)


def test_of_what_stands_still_only_what_is_read_is_kept(saved, store):
    live, moving, batches = opened(saved("minilm", 1), saved("minilm", 2), ["layers:2-2", "head"], store)
    remembered = Reuse.between(live, moving)
    along(live, batches, remembered, TS[:1])
    nothing = 2 * 4 * len(batches)  # one NaN for each output that is not kept
    assert remembered.bytes == sum(batch.size for batch in batches) * live.model.config.hidden_size * 4 + nothing
    (calls,) = {way.calls for way in remembered._ways.values()}
    assert [(call.module, call.read) for call in calls] == [
        (live.model.bert.embeddings, False), *[(live.model.bert.encoder.layer[i], i == 1) for i in (0, 1)]
    ]  # fmt: skip


def test_of_a_text_to_text_model_the_encoder_is_kept_and_the_last_still_block_of_the_decoder(saved, pairs, tmp_path):
    ends = [tiny.save(tmp_path / str(seed), "t5", seed, opener=hf.AutoModelForSeq2SeqLM) for seed in (1, 2)]
    tensors = load_file(ends[0] / "model.safetensors")
    other = load_file(ends[1] / "model.safetensors")
    moved = {name: other[name] if name.startswith("decoder.block.1.") else one for name, one in tensors.items()}
    save_file(moved, ends[1] / "model.safetensors", metadata={"format": "pt"})
    asked = tiny.experiment(*ends, {"task": f"local:{pairs}", "text": ["first", "second"], "read": "tokens", "max_length": 16}, points=5)
    seen = compared(asked, tmp_path)
    (calls,) = {way.calls for way in seen._ways.values()}
    decoder = seen.live.model.decoder.block
    assert [call.module for call in calls if call.read] == [seen.live.model.encoder, decoder[0]]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return tiny.task(tmp_path_factory.mktemp("pairs") / "pairs.csv", pairs=True)


@pytest.fixture
def made(monkeypatch):
    """Filled with what runs remember with."""
    seen, whole = [], Reuse.between.__func__
    monkeypatch.setattr(Reuse, "between", classmethod(lambda cls, *how: (seen.append(whole(cls, *how)), seen[-1])[1]))
    return seen


def stored(asked, store):
    """Every response of a question."""
    resolved = resolve(parse(asked))
    keys = {point: plan.key(resolved, point, plan.orders(resolved, point.task, store) or {}) for point in plan.in_order(resolved)}
    return {point: plan.unpack(store.get(key)) for point, key in keys.items()}


def compared(asked, tmp_path, does_reuse=True):
    """What a run remembered with, whose responses are those of a run that computes all of it again."""
    found, seen = [], []
    for name, between in (("with", Reuse.between), ("without", lambda *_: None)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Reuse, "between", lambda *how, between=between: (seen.append(between(*how)), seen[-1])[1])
            store = Store(tmp_path / name)
            list(run(parse(asked), store))
            found.append(stored(asked, store))
    assert found[0].keys() == found[1].keys() and all(np.array_equal(found[0][point], found[1][point]) for point in found[0])
    assert bool(seen[0] and seen[0].bytes) == does_reuse
    return seen[0]


@pytest.mark.parametrize(("family", "opener"), [
    ("gpt2", hf.AutoModelForCausalLM), ("llama", hf.AutoModelForCausalLM), ("gpt-neox", hf.AutoModelForCausalLM), ("bert", hf.AutoModelForMaskedLM),
])  # fmt: skip
def test_a_language_model_reads_the_same(family, opener, rows, tmp_path):
    ends = [tiny.save(tmp_path / f"{family}-{seed}", family, seed, opener=opener) for seed in (1, 2)]
    template = {"template": "{text} . It was {mask} ."} if family == "bert" else {"template": "{text}. Was it?"}
    tasks = [{"task": f"local:{rows}", "read": "answers", "answers": ["sad", "merry"], "max_length": 32, **template}]
    tasks.append({"task": f"local:{rows}", "read": "tokens", "max_length": 16})
    compared(tiny.experiment(*ends, *tasks, points=5, path={"kind": "partial", "move": ["layers:1-1"]}), tmp_path)


def test_a_head_that_is_fitted_at_each_t_reads_the_same(saved, tmp_path):
    task = {"task": f"local:{tiny.learnable(tmp_path / 'rows.csv', rows=120)}", "split": "validation", "max_length": 16, "read": "fitted"}
    for move in (["layers:2-2"], ["head"]):
        asked = tiny.experiment(saved("minilm", 1), saved("minilm", 2), task, points=4, path={"kind": "partial", "move": move, "rest": "b"})
        compared(asked, tmp_path / move[0])


def test_two_tasks_of_other_lengths_and_an_end_that_rests_at_b(saved, rows, tmp_path):
    more = tiny.task(tmp_path / "more.csv", rows=30, pairs=True, seed=3)
    asked = tiny.experiment(
        saved("minilm", 1), saved("minilm", 2), rows, {"task": f"local:{more}", "max_length": 24, "text": ["first", "second"]}, points=[0.0, 0.3, 0.6, 1.0],
        path={"kind": "partial", "move": ["layers:1-2"], "rest": "b"},
    )  # fmt: skip
    compared(asked, tmp_path)


def test_a_straight_line_between_ends_with_equal_lower_layers_reuses_them(saved, rows, tmp_path):
    compared(tiny.experiment(*equal_below(saved, tmp_path), rows, points=5), tmp_path)


def test_a_curve_whose_bends_may_move_the_last_layer_reuses_those_below(saved, tmp_path):
    task = {"task": f"local:{tiny.learnable(tmp_path / 'rows.csv', rows=120)}", "split": "validation", "max_length": 16}
    path = {"kind": "bezier", "bends": 2, "train": "last:1", "steps": 3, "batch_size": 8, "learning_rate": 0.01}
    compared(tiny.experiment(*equal_below(saved, tmp_path), task, points=5, path=path), tmp_path)


def equal_below(saved, tmp_path):
    """Two ends with the same bytes in two files everywhere but in the last layer and the head."""
    a, b = saved("minilm", 1), tmp_path / "b"
    tensors, other = (load_file(saved("minilm", seed) / "model.safetensors") for seed in (1, 2))
    tiny.save(b, "minilm", 1)
    upper = {name: other[name] for name in tensors if name.startswith(("bert.encoder.layer.2.", "classifier."))}
    save_file(tensors | upper, b / "model.safetensors", metadata={"format": "pt"})
    return a, b


def test_two_adapters_of_the_last_layer_on_one_base_reuse_the_others(rows, tmp_path):
    base = tiny.save(tmp_path / "base", "minilm", 1)
    for seed, side in enumerate("ab"):
        torch.manual_seed(seed)
        model = hf.AutoModelForSequenceClassification.from_pretrained(base)
        config = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"], layers_to_transform=[2], init_lora_weights=False)
        peft.get_peft_model(model, config).save_pretrained(tmp_path / side)
    compared(tiny.experiment(tmp_path / "a", tmp_path / "b", rows, points=5), tmp_path)


@pytest.mark.parametrize("method", ["lora", "adapter", "prefix", "bitfit"])
def test_ends_that_were_tuned_in_their_last_layer_alone_reuse_the_backbone_below(method, saved, tmp_path):
    base, task = saved("minilm", 5, opener=hf.AutoModel), {"task": f"local:{tiny.learnable(tmp_path / 'rows.csv', rows=60)}", "max_length": 16}
    recipe = {"base": f"local:{base}", "task": {**task, "split": "train"}, "method": method, "layers": "last:1", "steps": 2, "batch_size": 8, "learning_rate": 0.05}
    ends = [{**recipe, "head_seed": seed, "data_seed": seed} for seed in (1, 2)]
    seen = compared(tiny.experiment(*ends, {**task, "split": "validation"}, points=4), tmp_path)
    layers = seen.live.model.bert.encoder.layer
    assert all({call.module for call in way.calls} >= {layers[0], layers[1]} for way in seen._ways.values())


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")
def test_in_bfloat16_too(saved, rows, tmp_path):
    asked = tiny.experiment(saved("minilm", 1), saved("minilm", 2), rows, points=4, precision="bfloat16", path={"kind": "partial", "move": ["layers:2-2"]})
    compared(asked, tmp_path)


@pytest.mark.parametrize("path", [{"kind": "linear"}, {"kind": "slerp"}, {"kind": "linear", "align": "weights"}, {"kind": "partial", "move": ["embeddings"]}])
def test_where_the_first_layer_moves_nothing_is_remembered(path, saved, rows, store, made):
    asked = tiny.experiment(saved("bert", 1), saved("bert", 2), rows, path=path)
    list(run(parse(asked), store))
    (one,) = made
    assert one is None or one.bytes == 0
    assert (one is None) == (path["kind"] != "partial")


def test_on_a_line_that_moves_all_the_ends_are_hardly_compared(saved, store, monkeypatch):
    live, _, _ = opened(saved("bert", 1), saved("bert", 2), ["head"], store)
    live, elements, whole = replace(live, path=Path(PathSpec())), [], WeightSet.fill
    monkeypatch.setattr(WeightSet, "fill", lambda self, name, start, into: (elements.append(into.numel()), whole(self, name, start, into))[1])
    resolved = resolve(parse(tiny.experiment(saved("bert", 1), saved("bert", 2), tiny.task(store.root / "rows.csv"))))
    assert responses.moving(live, resolved, [0.0, 1.0, 0.5]) == set(live.tensors)
    assert sum(elements) <= 2 * 64 * len(live.tensors)
    assert Reuse.between(live, frozenset(live.tensors)) is None


def test_what_does_not_fit_is_computed_as_before(saved, store):
    ends = [saved("minilm", seed) for seed in (1, 2)]
    whole = along(*(opened(*ends, ["layers:2-2", "head"], store)[i] for i in (0, 2)))
    for room in (0, 100_000):
        live, moving, batches = opened(*ends, ["layers:2-2", "head"], store)
        remembered = Reuse(live, moving, room)
        assert same(along(live, batches, remembered), whole)
        assert remembered.bytes <= room and (len(remembered._kept) in range(1, len(batches))) == (room > 0)


def test_other_weights_below_are_noticed(saved, store):
    live, moving, batches = opened(saved("minilm", 1), saved("minilm", 2), ["layers:2-2", "head"], store)
    remembered = Reuse.between(live, moving)
    along(live, batches, remembered, TS)
    for change in (lambda: live.place_body((0.5, 0.5)), lambda: live.tensors["bert.embeddings.LayerNorm.bias"].add_(1.0)):
        with torch.no_grad():
            change()
        assert np.array_equal(logits(live.model, batches, reuse=remembered), logits(live.model, batches))


def test_a_run_that_is_stopped_leaves_nothing_on_the_model(saved, store):
    live, moving, batches = opened(saved("minilm", 1), saved("minilm", 2), ["layers:2-2", "head"], store)
    remembered, left = Reuse.between(live, moving), [1, 3, 8, 4]
    asked = []
    for last in left:
        asked.clear()
        with pytest.raises(Cancelled):
            along(live, batches, remembered, TS[:1], stop=lambda last=last: asked.append(1) or len(asked) == last)
        assert not any("forward" in module.__dict__ or module._forward_hooks for module in live.model.modules())
        assert not any(parameter.requires_grad for parameter in live.model.parameters())
    whole = along(live, batches)
    assert same(along(live, batches, remembered), whole)


class Below(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.each = torch.nn.Linear(8, 8)

    def forward(self, x):
        return x + self.each(x).tanh()


class Stack(torch.nn.Module):
    """Two blocks and an output layer; ``shift`` moves."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head, self.shift = torch.nn.Embedding(50, 8), torch.nn.Linear(8, 2), torch.nn.Parameter(torch.zeros(8))
        self.blocks = torch.nn.ModuleList([Below(), Below()])
        self.config = type("Config", (), {"num_labels": 2, "get_text_config": lambda _: self.config, "pad_token_id": 0})()

    def forward(self, input_ids):
        x = self.embedding(input_ids)
        for block in self.blocks:
            x = block(x)
        return hf.modeling_outputs.SequenceClassifierOutput(logits=self.head(self.top(x).mean(1)))

    def top(self, x):
        return x + self.shift


class Hidden(Stack):
    """What moves is hidden from autograd and changes what the first block gives."""

    def forward(self, input_ids):
        x = self.embedding(input_ids) + self.shift.detach()
        for block in self.blocks:
            x = block(x)
        return hf.modeling_outputs.SequenceClassifierOutput(logits=self.head(self.top(x).mean(1)))


class Overwriting(Stack):
    """Writes into what the last block gave."""

    def top(self, x):
        x += self.shift
        return x


class Twice(Stack):
    """One block is called twice, the second time with what moves."""

    def top(self, x):
        return self.blocks[0](x + self.shift)


class Numbered(Stack):
    """A module between gives something that is not of tensors alone."""

    def __init__(self):
        super().__init__()
        self.odd = torch.nn.Module()
        self.odd.weight, self.odd.forward = torch.nn.Parameter(torch.ones(8)), lambda x: (x * self.odd.weight, {1, 2})

    def top(self, x):
        return self.odd(x)[0] + self.shift


def stack_of(kind, tmp_path):
    """A live model of this kind whose ends differ in ``shift`` and in the output layer."""
    torch.manual_seed(0)
    model = kind().eval().requires_grad_(False)
    tensors = dict(model.named_parameters())
    sets = {}
    for side, shift in (("a", 0.0), ("b", 0.5)):
        file = tmp_path / f"{side}.safetensors"
        save_file({name: (one + shift if name in ("shift", "head.bias") else one).detach().clone() for name, one in tensors.items()}, file)
        sets[side] = WeightSet({name: Place(file, name) for name in tensors})
    ids = torch.arange(400).reshape(40, 10) % 47
    batches = [Batch(tuple(range(20)), {"input_ids": ids[:20]}), Batch(tuple(range(20, 40)), {"input_ids": ids[20:]})]
    return Live(model, None, tensors, frozenset(), sets, {}), batches


@pytest.mark.parametrize(("kind", "reused"), [(Stack, True), (Hidden, False), (Overwriting, False), (Twice, True), (Numbered, True)])
def test_a_model_that_does_what_no_trial_foresees_gives_the_whole_models_numbers(kind, reused, tmp_path):
    live, batches = stack_of(kind, tmp_path)
    remembered = Reuse.between(live, frozenset({"shift", "head.bias"}))
    computed = counted(live.model.blocks[1].each)

    def answer(batch):
        return live.model(**batch.inputs).logits

    for t in TS:
        live.place_body((1 - t, t))
        with torch.inference_mode():
            whole = [answer(batch) for batch in batches]
            before = computed["all"]
            with reuse.asking(remembered, live.model, batches, answer) as ask:
                assert all(torch.equal(ask(batch), one) for batch, one in zip(batches, whole, strict=True))
    assert (computed["all"] == before) == reused  # at the last point


def test_a_block_that_is_called_twice_stands_still_but_once(tmp_path):
    live, batches = stack_of(Twice, tmp_path)
    live.place_body((1.0, 0.0))
    calls = still_calls(live.model, batches[0], lambda batch: live.model(**batch.inputs).logits, [live.tensors["shift"]])
    assert [(call.module, call.number) for call in calls] == [(live.model.embedding, 0), (live.model.blocks[0], 0), (live.model.blocks[1], 0)]
