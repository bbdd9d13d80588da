"""Weights in every form: pickles, whole or in parts, conversions that wait, dtypes, ties; what a host refuses before it fetches them."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import pytest
import tiny
import torch
from conftest import ROOT
from hub_fixtures import Opened
from hub_server import Fault
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from mcore import profile
from mcore.errors import QuestionError
from mcore.hub import remote
from mcore.hub import repositories as hub_client
from mcore.limits import check_size
from mcore.question import parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.sources import look
from mcore.store import Store


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def pickled(folder, to, **how):
    """A copy of the folder whose weights stand in pytorch_model.bin."""
    to.mkdir()
    for name, data in contents(folder).items():
        if name != "model.safetensors":
            (to / name).write_bytes(data)
    torch.save(load_file(folder / "model.safetensors"), to / "pytorch_model.bin", **how)
    return to


def asked(a, b, rows, **more):
    return parse({"version": 1, "a": a, "b": b, "tasks": [{"task": f"local:{rows}", "max_length": 16}], "points": 3} | more)


def losses(question, store):
    list(run(question, store))
    return collect(resolve(question), store)["tasks"][0]["loss"]


def fetched(server, end):
    return [one.path for one in server.asked if one.path.endswith(end) and one.method == "GET"]


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "before torch 1.6"])
def test_a_pickle_gives_what_its_safetensors_give(saved, rows, store, tmp_path, how):
    a, b = saved("bert", 1), saved("bert", 2)
    expected = losses(asked(f"local:{a}", f"local:{b}", rows), store)
    old = pickled(b, tmp_path / "old", **how)
    question = asked(f"local:{a}", f"local:{old}", rows)
    assert losses(question, store) == expected
    notices = resolve(question).notices
    assert notices == ["The weights of old are read from a pickle, of which nothing but tensors is loaded."]


def test_a_pickle_on_the_hub_is_read_on_ones_own_machine_and_written_anew_once(server, saved, rows, store, tmp_path):
    expected = losses(asked(f"local:{saved('bert', 1)}", f"local:{saved('bert', 2)}", rows), store)
    server.put("org/new", saved("bert", 1))
    commit = server.put("org/old", pickled(saved("bert", 2), tmp_path / "old"))
    question = asked("hub:org/new", "hub:org/old", rows)
    looked = look("hub:org/old", "b")
    assert looked.unread and looked.parameters == looked.bytes // 4 and not fetched(server, ".bin")
    resolved = resolve(question)
    assert resolved.experiment.b == f"hub:org/old@{commit}" and "pickle (pytorch_model.bin)" in resolved.notices[0]
    assert losses(question, store) == expected
    assert [entry.about["address"] for entry in store.entries("rewritten")] == [f"hub:org/old@{commit}"]
    server.asked.clear()
    assert losses(resolved.experiment, store) == expected and not server.asked


def test_a_pickle_in_parts_is_one_model(saved, rows, store, tmp_path):
    old = pickled(saved("bert", 2), tmp_path / "old")
    whole = torch.load(old / "pytorch_model.bin")
    names = sorted(whole)
    parts = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for file, some in parts.items():
        torch.save({name: whole[name] for name in some}, old / file)
    (old / "pytorch_model.bin").unlink()
    tiny.write(old / "pytorch_model.bin.index.json", {"weight_map": {name: file for file, some in parts.items() for name in some}})
    a = f"local:{saved('bert', 1)}"
    assert losses(asked(a, f"local:{old}", rows), store) == losses(asked(a, f"local:{saved('bert', 2)}", rows), store)


def test_old_names_of_tensors_and_tied_ones_are_known(saved, rows, store, tmp_path):
    old = pickled(saved("bert", 2), tmp_path / "old")
    weights = torch.load(old / "pytorch_model.bin")
    renamed = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t for name, t in weights.items()}
    assert renamed.keys() != weights.keys()
    renamed["cls.predictions.decoder.weight"] = renamed["bert.embeddings.word_embeddings.weight"]
    torch.save(renamed, old / "pytorch_model.bin")
    a = f"local:{saved('bert', 1)}"
    assert losses(asked(a, f"local:{old}", rows), store) == losses(asked(a, f"local:{saved('bert', 2)}", rows), store)


def test_a_pickle_that_cannot_be_joined_is_told_before_anything_is_trained(server, saved, rows, store, tmp_path):
    server.put("org/new", saved("bert", 1))
    folder = pickled(saved("bert", 2), tmp_path / "old")
    weights = torch.load(folder / "pytorch_model.bin")
    name = "bert.encoder.layer.0.attention.self.query.weight"
    torch.save(weights | {name: torch.zeros(32, 40)}, folder / "pytorch_model.bin")
    server.put("org/old", folder)
    question = asked("hub:org/new", "hub:org/old", rows)
    resolve(question)
    with pytest.raises(QuestionError, match=rf"^b: {name} \(32×32 in A, 32×40 in B\) cannot be blended"):
        list(run(question, store))
    assert not store.entries("responses")
    server.put("org/large", pickled(saved("minilm", 2), tmp_path / "large"))
    with pytest.raises(QuestionError, match="num_hidden_layers is 2 in A and 3 in B"):  # its configuration tells that much
        resolve(asked("hub:org/new", "hub:org/large", rows))


def payloads(tmp_path):
    mark = str(tmp_path / "ran")
    yield {"w": torch.zeros(3), "x": Opened(mark)}, True
    yield Opened(mark), True
    yield {"w": Opened(mark)}, False


def test_a_payload_in_a_pickle_is_not_run(server, saved, rows, store, tmp_path):
    for i, (payload, zipped) in enumerate(payloads(tmp_path)):
        old = pickled(saved("bert", 2), tmp_path / f"old{i}")
        torch.save(payload, old / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
        server.put(f"org/old{i}", old)
        for address in (f"hub:org/old{i}", f"local:{old}"):
            with pytest.raises(QuestionError, match="^b: pytorch_model.bin is damaged, or holds something other than tensors, which is not run"):
                list(run(asked(f"local:{saved('bert', 1)}", address, rows), store))
    assert not (tmp_path / "ran").exists() and not store.entries("rewritten")
    torch.load(old / "pytorch_model.bin", weights_only=False)  # it would have made the file
    assert (tmp_path / "ran").exists()


def test_a_pickle_whose_tensors_are_larger_than_it_is_refused(saved, rows, store, tmp_path):
    question = asked(f"local:{saved('bert', 1)}", f"local:{tmp_path / 'old'}", rows)
    old = pickled(saved("bert", 2), tmp_path / "old")
    weights = torch.load(old / "pytorch_model.bin")
    for wide in (torch.zeros(1).expand(10**9), torch.zeros(2, 3).to_sparse(), torch.zeros(3, device="meta"), [1, 2]):
        torch.save(weights | {"w": wide}, old / "pytorch_model.bin")
        with pytest.raises(QuestionError, match="damaged, or holds something other than tensors"):
            list(run(question, store))
    one = torch.zeros(100_000)
    torch.save({f"w{i}": one for i in range(50)}, old / "pytorch_model.bin")
    with pytest.raises(QuestionError, match="says that it holds more than its size"):
        list(run(question, store))
    with zipfile.ZipFile(old / "pytorch_model.bin") as opened, zipfile.ZipFile(old / "packed", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in opened.namelist():
            packed.writestr(name, opened.read(name))
    (old / "packed").rename(old / "pytorch_model.bin")
    with pytest.raises(QuestionError, match="damaged, or holds something other than tensors"):
        list(run(question, store))


@pytest.mark.parametrize("place", ["refs/pr/1", "refs/pr/3"])
def test_a_conversion_that_waits_is_used_and_named(server, saved, rows, store, tmp_path, host, place):
    host()  # which opens no pickles
    expected = losses(asked(f"local:{saved('bert', 1)}", f"local:{saved('bert', 2)}", rows), store)
    old = contents(pickled(saved("bert", 2), tmp_path / "old"))
    server.put("org/new", saved("bert", 1))
    server.put("org/old", old)
    commit = server.put("org/old", old | {"model.safetensors": (saved("bert", 2) / "model.safetensors").read_bytes()}, revision=place)
    question = asked("hub:org/new", "hub:org/old", rows)
    resolved = resolve(question)
    assert resolved.experiment.b == f"hub:org/old@{commit}"
    assert f"read from the conversion to safetensors that was proposed at {place}; anybody may propose one." in resolved.notices[0]
    assert losses(question, store) == expected and not fetched(server, ".bin")
    server.asked.clear()
    assert losses(resolved.experiment, store) == expected and not server.asked
    assert resolve(question).notices == resolved.notices and not server.asked


def test_a_proposal_that_changes_more_than_the_form_is_not_used(server, saved, tmp_path):
    old = contents(pickled(saved("bert", 2), tmp_path / "old"))
    weights = {"model.safetensors": (saved("bert", 3) / "model.safetensors").read_bytes()}
    commit = server.put("org/old", old)
    other = contents(pickled(saved("bert", 3), tmp_path / "other"))["pytorch_model.bin"]
    server.put("org/old", old | weights | {"pytorch_model.bin": other}, revision="refs/pr/1")
    server.put("org/old", old | weights | {"config.json": old["config.json"] + b" "}, revision="refs/pr/2")
    looked = look("hub:org/old", "b")
    assert looked.address == f"hub:org/old@{commit}" and looked.pickled
    asked_before = len(server.asked)
    look("hub:org/old", "b")  # at once again: it is remembered that there is none
    assert len(server.asked) == asked_before


def test_a_host_opens_the_pickles_of_repositories_that_it_names(server, saved, rows, store, tmp_path, host):
    for name in ("org/old", "org/other"):
        server.put(name, pickled(saved("bert", 2), tmp_path / name.partition("/")[2]))
    host(MCORE_ALLOW_BIN="org/old, org/more", SPACE_ID="me/explorer")
    with pytest.raises(QuestionError, match=r"^b: the weights of org/other are no safetensors but a pickle .* which this host does not open; .*git clone .*/spaces/me/explorer && cd explorer && make run"):
        look("hub:org/other", "b")
    assert not fetched(server, ".bin")
    server.put("org/new", saved("bert", 1))
    question = asked("hub:org/new", "hub:org/old", rows)
    assert len(losses(question, store)) == 3 and fetched(server, ".bin")


def test_the_hosts_list_is_printed_and_checked():
    def printed(**variables):
        return subprocess.run([sys.executable, "-m", "mcore.profile"], cwd=ROOT, env=variables, capture_output=True, text=True)

    assert "MCORE_ALLOW_BIN: every repository" in printed().stdout
    assert "MCORE_ALLOW_BIN: no repository" in printed(MCORE_PROFILE="hosted").stdout
    assert "MCORE_ALLOW_BIN: org/a, org/b" in printed(MCORE_PROFILE="hosted", MCORE_ALLOW_BIN="org/a,org/b").stdout
    wrong = printed(MCORE_ALLOW_BIN="nobody")
    assert wrong.returncode == 2 and "give repositories as ORG/NAME" in wrong.stderr


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_dtype_is_evaluated_in_float32(server, saved, rows, store, dtype):
    for side, seed in (("a", 1), ("b", 2)):
        folder = contents(saved("bert", seed))
        model = AutoModelForSequenceClassification.from_pretrained(saved("bert", seed), dtype=dtype)
        for name, tensor in model.state_dict().items():
            assert tensor.dtype is dtype or "position_ids" in name
        save_file(model.state_dict(), saved("bert", seed).parent / f"{side}.safetensors", metadata={"format": "pt"})
        server.put(f"org/{side}", folder | {"model.safetensors": (saved("bert", seed).parent / f"{side}.safetensors").read_bytes()})
    found = losses(asked("hub:org/a", "hub:org/b", rows), store)
    exact = losses(asked(f"local:{saved('bert', 1)}", f"local:{saved('bert', 2)}", rows), store)
    assert found == pytest.approx(exact, abs={torch.float16: 5e-3, torch.bfloat16: 5e-2, torch.float64: 1e-6}[dtype])


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_eight_bits_are_refused(server, saved, tmp_path, dtype):
    folder = tiny.save(tmp_path / "m", "bert", 1)
    save_file({name: t.to(dtype) for name, t in load_file(folder / "model.safetensors").items()}, folder / "model.safetensors")
    server.put("org/m", folder)
    for address in (f"local:{folder}", "hub:org/m"):
        with pytest.raises(QuestionError, match="^a: its tensors are stored as F8_.*; choose the same model in float32, float16"):
            look(address, "a")
    config = json.loads((folder / "config.json").read_text())
    tiny.write(folder / "config.json", config | {"quantization_config": {"quant_method": "fp8"}})
    with pytest.raises(QuestionError, match="its weights are quantised"):
        look(f"local:{folder}", "a")


def test_tied_weights_in_shards_are_one_model(server, rows, store, tmp_path):
    for side, seed in (("a", 1), ("b", 2)):
        folder = tiny.save(tmp_path / f"{side}-whole", "bart", seed)
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        model.save_pretrained(tmp_path / side, max_shard_size="20KB")
        AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / side)
        assert len(list((tmp_path / side).glob("*.safetensors"))) > 2
        server.put(f"org/{side}", tmp_path / side)
    found = losses(asked("hub:org/a", "hub:org/b", rows), store)
    assert found == losses(asked(f"local:{tmp_path / 'a-whole'}", f"local:{tmp_path / 'b-whole'}", rows), store)


def test_a_masked_language_model_in_a_pickle_keeps_its_ties(saved, tmp_path, store):
    from mcore.hub.remote import at_hand

    folder = saved("bert", 4, opener=AutoModelForMaskedLM)
    old = pickled(folder, tmp_path / "old")
    torch.save(AutoModelForMaskedLM.from_pretrained(folder).state_dict(), old / "pytorch_model.bin")  # the decoder is there twice
    here = at_hand(look(f"local:{old}", "a"), "a", store)
    assert {"cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"} <= set(here.tensors)
    again = AutoModelForMaskedLM.from_pretrained(here.folder).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in AutoModelForMaskedLM.from_pretrained(folder).state_dict().items())


def test_limits_hold_before_a_byte_of_weights_is_fetched_and_name_the_way_to_do_without(server, saved, rows, tmp_path, host):
    for side, seed in (("a", 1), ("b", 2)):
        server.put(f"org/{side}", saved("bert", seed))
    server.put("org/old", pickled(saved("bert", 2), tmp_path / "old"))
    count = look("hub:org/a", "a").parameters
    way = "or run it on your own machine: in a copy of this app: make run .or: .venv/bin/python -m mcore run EXPERIMENT.json"
    for limits, b, said in (
        (profile.Profile(parameters=count - 1), "org/b", f"a: {count:,} parameters are more than this host carries out; give at most {count - 1:,}, {way}"),
        (profile.Profile(bytes=4 * count - 1), "org/b", f"a: .* bytes of weights are more than this host carries out; give at most {4 * count - 1:,}, {way}"),
        (profile.Profile(bytes=look("hub:org/a", "a").bytes), "org/old", f"b: .* bytes of weights .*{way}"),
    ):
        with pytest.raises(QuestionError, match=f"^{said}"):
            check_size(resolve(asked("hub:org/a", f"hub:{b}", rows)), limits)
    assert all(one.range for one in server.asked if one.path.endswith(".safetensors") and one.method == "GET") and not fetched(server, ".bin")


def test_what_came_otherwise_than_the_list_says_is_not_read(server, saved, rows, store):
    server.put("org/a", saved("bert", 1))
    server.put("org/b", saved("bert", 2))
    server.repositories["models", "org/b"].listed = lambda files: [
        one | ({"lfs": one["lfs"] | {"sha256": "0" * 64}} if one["rfilename"] == "model.safetensors" else {}) for one in files
    ]
    with pytest.raises(QuestionError, match="^b: model.safetensors of org/b is not what the Hub's list says; it has been removed"):
        list(run(asked("hub:org/a", "hub:org/b", rows), store))
    assert not store.entries("responses")


def test_a_file_that_was_right_is_read_again_only_when_it_has_changed(server, saved, store, monkeypatch):
    server.put("org/a", saved("bert", 1))
    checkpoint = look("hub:org/a", "a")
    list(remote.fetch(checkpoint, "a", lambda: False))
    first = remote.at_hand(checkpoint, "a", store)
    with monkeypatch.context() as patched:
        patched.setattr("mcore.hub.remote.file_digest", None)
        patched.setattr("mcore.models.checkpoints.file_digest", None)
        assert remote.at_hand(checkpoint, "a", store) == first
    path = checkpoint.folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(QuestionError, match="^a: model.safetensors of org/a is not what the Hub's list says"):
        remote.at_hand(checkpoint, "a", store)
    assert not path.exists()


def test_the_hub_failing_over_a_conversion_is_no_proof_that_there_is_none(server, saved, tmp_path, monkeypatch):
    server.put("org/old", pickled(saved("bert", 2), tmp_path / "old"))
    server.faults.append(Fault("refs/pr/1", status=500))
    with pytest.raises(hub_client.NoAnswer):
        look("hub:org/old", "b")


def without_tokenizer(folder, **config):
    files = {name: data for name, data in contents(folder).items() if "token" not in name}
    return files | {"config.json": json.dumps(json.loads(files["config.json"]) | config).encode()}


@pytest.mark.parametrize("form", ["safetensors", "pickle"])
def test_a_repository_without_a_tokenizer_is_read_with_that_of_what_it_was_tuned_from(server, saved, rows, store, tmp_path, form):
    a, b = saved("bert", 1), saved("bert", 2)
    expected = losses(asked(f"local:{a}", f"local:{b}", rows), store)
    commit = server.put("org/base", saved("bert", 3))
    server.put("org/bare", without_tokenizer(b if form == "safetensors" else pickled(b, tmp_path / "old"), _name_or_path="org/base"))
    question = asked(f"local:{a}", "hub:org/bare", rows)
    assert losses(question, Store(tmp_path / "other")) == pytest.approx(expected, abs=1e-6)
    resolved = resolve(question)
    assert any(f"org/bare has no tokenizer; that of org/base@{commit} is used" in told for told in resolved.notices)
    assert not [path for path in fetched(server, ".safetensors") if "/base/" in path]
    server.put("org/base", contents(saved("bert", 3)) | {"more.txt": b"x"})
    server.asked.clear()
    hub_client._newest.clear()  # as after a minute: the lender stays what it was
    assert resolve(resolved.experiment).fingerprint == resolved.fingerprint and not server.asked


@pytest.mark.parametrize(("named", "match"), [
    ({}, "org/bare has no tokenizer; choose"), ({"_name_or_path": "./out"}, "org/bare has no tokenizer; choose"),
    ({"_name_or_path": "org/absent"}, "and that of org/absent, from which it was tuned, cannot be read: there is no repository org/absent"),
    ({"_name_or_path": "org/empty"}, "nor has org/empty, from which it was tuned"),
])  # fmt: skip
def test_a_tokenizer_that_nobody_has_is_told(server, saved, named, match):
    server.put("org/empty", {"config.json": b"{}"})
    server.put("org/bare", without_tokenizer(saved("bert", 1), **named))
    with pytest.raises(QuestionError, match=match):
        look("hub:org/bare", "a")
