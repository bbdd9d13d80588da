"""What strangers may put into a repository, a folder or a name: each gets its sentence, and nothing of it is run, believed or written elsewhere.

Each checkpoint is asked for over loopback, by the real clients, and as a folder on this disk.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import string
import struct
import time

import pytest
import tiny
import torch
from hub_fixtures import Opened
from test_weights import asked, contents, fetched, losses, pickled

from mcore.errors import LONGEST, QuestionError
from mcore.hub import info as hubinfo
from mcore.hub import repositories as hub_client
from mcore.hub.remote import at_hand, look_at
from mcore.resolve import resolve
from mcore.run import run
from mcore.sources import look


def header(entries, length=None, room=64) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(room)


def tensor(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


HEADERS = {
    "a length of a billion": header({}, 10**9), "a length beyond any file": header({}, 2**63), "no header": b"", "less than a length": b"\x07\0",
    "no JSON": header(b"{{{{"), "a list": header([1, 2]), "deep": header(b'{"a":' * 20_000), "an entry that is none": header({"w": 7}),
    "an end outside": header({"w": tensor([4], 0, 10**12)}), "a beginning outside": header({"w": tensor([4], 10**12, 10**12 + 16)}),
    "an end before its beginning": header({"w": tensor([4], 16, 0)}), "a negative beginning": header({"w": tensor([4], -16, 0)}),
    "a negative shape": header({"w": tensor([-4, -4], 0, 64)}), "a shape of words": header({"w": tensor(["4"], 0, 16)}),
    "a shape that says more than there is": header({"w": tensor([10**6, 10**6], 0, 64)}),
    "a shape that wraps around": header({"w": tensor([2**32, 2**32, 16], 0, 64)}), "a shape that says less": header({"w": tensor([2], 0, 64)}),
    "tensors that overlap": header({"v": tensor([12], 0, 48), "w": tensor([8], 32, 64)}),
    "two tensors in one place": header({"v": tensor([16], 0, 64), "w": tensor([16], 0, 64)}),
    "a gap between tensors": header({"v": tensor([4], 0, 16), "w": tensor([4], 48, 64)}), "more than its tensors": header({"w": tensor([4], 0, 16)}),
    "an unknown dtype": header({"w": tensor([4], 0, 16, "F31")}), "a dtype that is none": header({"w": tensor([4], 0, 16, 7)}),
    "offsets that are true": header({"w": tensor([1], False, True, "U8")}, room=1), "no tensors": header({}, room=0),
    "half a character": header(b'{"\\ud800": 1}'),
}  # fmt: skip


def changed(folder, to, **files):
    """A copy of the folder with other contents (bytes, None: without it), in names that may be given with underscores."""
    shutil.copytree(folder, to)
    for name, data in files.items():
        (to / name).unlink(missing_ok=True)
        if data is not None:
            (to / name).write_bytes(data)
    return to


def config_of(folder, **changes):
    told = json.loads((folder / "config.json").read_text()) | changes
    return json.dumps({name: value for name, value in told.items() if value is not None}).encode()


def both(server, folder):
    server.put("org/evil", folder)
    hub_client._newest.clear()
    return f"local:{folder}", "hub:org/evil"


def refused(address, said=""):
    """The sentence that the address is answered with: one line of an ordinary length."""
    with pytest.raises(QuestionError, match=f"^a: .*{said}") as told:
        look(address, "a")
    assert "\n" not in str(told.value) and len(str(told.value)) < 2 * LONGEST + 50 and "Traceback" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize("weights", HEADERS.values(), ids=HEADERS)
def test_a_header_that_lies_is_not_believed(server, saved, tmp_path, weights):
    folder = changed(saved("bert", 1), tmp_path / "evil", **{"model.safetensors": weights})
    for address in both(server, folder):
        refused(address, "damaged|no safetensors file|no tensors")
    assert sum(one.sent for one in server.asked if one.method == "GET") < 300_000


def test_more_tensors_than_any_model_has_are_refused_before_they_are_read(server, saved, rows, store, tmp_path):
    many = header({f"w{i}": tensor([0], 0, 0) for i in range(110_000)}, room=0)
    folder = changed(saved("bert", 1), tmp_path / "evil", **{"model.safetensors": many})
    local, remote = both(server, folder)
    refused(local, "more than 100,000 tensors")
    assert look(remote, "a").unread and sum(one.sent for one in server.asked) < 300_000
    with pytest.raises(QuestionError, match="^a: it has more than 100,000 tensors"):
        list(run(asked(remote, f"local:{saved('bert', 1)}", rows), store))


CONFIGS = {
    "a vocabulary of 10^12": ({"vocab_size": 10**12}, "vocab_size is 1,000,000,000,000"), "a negative size": ({"hidden_size": -32}, "hidden_size is -32"),
    "a size that is no whole number": ({"vocab_size": 1e18}, "vocab_size is"), "10^9 layers": ({"num_hidden_layers": 10**9}, "num_hidden_layers is"),
    "10^5 layers": ({"num_hidden_layers": 10**5}, "fewer layers"), "a part with 10^9 layers": ({"text_config": {"n_layer": 10**9}}, "n_layer is"),
    "sizes in a list": ({"decoder_layers": [1, 10**9]}, "decoder_layers is"), "no number": ({"hidden_size": float("nan")}, "hidden_size is nan"),
    "labels without end": ({"id2label": None, "num_labels": 10**12}, "num_labels is"), "many labels": ({"id2label": None, "num_labels": 50_000}, "names 50,000 labels"),
    "labels by the number": ({"id2label": {"9" * 5000: "x"}}, "id2label"), "labels that are a list": ({"id2label": ["x"]}, "id2label"),
    "a label of a megabyte": ({"id2label": {"0": "x" * 100_000}}, "longer than 200"), "half a character": ({"id2label": {"0": "\ud800"}}, "id2label"),
    "architectures that are a number": ({"architectures": 5}, "no list of names"), "architectures of numbers": ({"architectures": [5]}, "no list of names"),
    "an architecture that is an object": ({"model_type": {"a": 1}}, "model_type in its"), "an architecture of a megabyte": ({"model_type": "x" * 100_000}, "is no word"),
    "positions in words": ({"max_position_embeddings": "many"}, "no whole number"), "padding in words": ({"pad_token_id": "x"}, "no whole number"),
    "quantised": ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantised"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), CONFIGS.values(), ids=CONFIGS)
def test_a_configuration_that_no_model_has_is_refused(server, saved, tmp_path, changes, said):
    folder = changed(saved("bert", 1), tmp_path / "evil", **{"config.json": config_of(saved("bert", 1), **changes)})
    for address in both(server, folder):
        refused(address, said)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 30_000, b"[1]", b"", b"\xff\xfe", b"1" * 5000, b'{"x": ' + b"1" * 5000 + b"}", b" " * (9 * 2**20)])
def test_json_that_is_none_is_refused_in_every_file(server, saved, tmp_path, text):
    for name in ("config.json", "tokenizer.json")[: 1 if len(text) > 10**6 else 2]:  # a tokenizer may be as large, and is read once it is fetched
        folder = changed(saved("bert", 1), tmp_path / f"evil-{name}", **{name: text})
        for address in both(server, folder):
            refused(address, "JSON|larger than|bytes, more than")
    folder = changed(saved("bert", 1), tmp_path / "index", **{"model.safetensors": None, "model.safetensors.index.json": text})
    for address in both(server, folder):
        refused(address, "JSON|larger than|does not fit its files")


SIZES = [
    {"vocab_size": 9_000_000}, {"hidden_size": 1_000_000, "intermediate_size": 1_000_000}, {"max_position_embeddings": 9_999_999}, {"num_hidden_layers": 900, "hidden_size": 4096},
]  # fmt: skip


@pytest.mark.parametrize("changes", SIZES, ids=lambda one: " ".join(one))
def test_a_model_larger_than_its_files_is_not_built(server, saved, rows, store, tmp_path, changes):
    folder = changed(saved("bert", 1), tmp_path / "evil", **{"config.json": config_of(saved("bert", 1), **changes)})
    for address in both(server, folder):
        began = time.monotonic()
        with pytest.raises(QuestionError, match=r"^[ab]: its config describes a model of [\d,]+ parameters, and its files hold 2\d,\d{3}|^b: .*choose two checkpoints"):
            list(run(asked(address, address, rows), store))
        assert time.monotonic() - began < 20
    recipe = {"base": f"local:{folder}", "task": {"task": f"local:{rows}"}, "steps": 1}
    with pytest.raises(QuestionError, match=r"^a.base: its config describes a model"):
        list(run(asked(recipe, recipe, rows), store))


@pytest.mark.parametrize("changes", [{"num_attention_heads": 0}, {"hidden_act": "evil"}, {"num_attention_heads": 5}, {"hidden_size": "32"}, {"num_hidden_layers": 1.5},
                                     {"pad_token_id": 10**6}, {"dtype": "evil"}, {"attn_implementation": "evil/kernel"}, {"is_decoder": "x"}, {"id2label": {}}])  # fmt: skip
def test_a_configuration_that_cannot_be_built_is_told_in_a_sentence(saved, rows, store, tmp_path, changes):
    folder = changed(saved("bert", 1), tmp_path / "evil", **{"config.json": config_of(saved("bert", 1), **changes)})
    try:
        list(run(asked(f"local:{folder}", f"local:{saved('bert', 2)}", rows), store))
    except QuestionError as told:
        assert "\n" not in str(told)


CODE = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoModelForSequenceClassification": "evil.Model", "AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}


def with_code(saved, to, mark, **changes):
    settings = json.loads((saved("bert", 2) / "tokenizer_config.json").read_text()) | {"auto_map": CODE}
    return changed(saved("bert", 2), to, **{
        "config.json": config_of(saved("bert", 2), auto_map=CODE, **changes), "evil.py": f"open({str(mark)!r}, 'w')".encode(),
        "tokenizer_config.json": json.dumps(settings).encode(),
    })  # fmt: skip


def test_code_that_a_config_names_is_never_fetched_or_run(server, saved, rows, store, tmp_path):
    plain, mark = f"local:{saved('bert', 1)}", tmp_path / "ran"
    expected = losses(asked(plain, f"local:{saved('bert', 2)}", rows), store)
    for address in both(server, with_code(saved, tmp_path / "known", mark)):  # of a kind that transformers knows: it is opened as that
        assert losses(asked(plain, address, rows), store) == expected
    for address in both(server, with_code(saved, tmp_path / "unknown", mark, model_type="evil")):
        with pytest.raises(QuestionError, match="transformers cannot open it"):
            list(run(asked(address, address, rows), store))
    for address in both(server, with_code(saved, tmp_path / "absent", mark, model_type=None)):
        with pytest.raises(QuestionError, match="transformers cannot open it"):
            list(run(asked(address, address, rows), store))
    assert not mark.exists() and not fetched(server, ".py")


def listed(server, change):
    server.repositories["models", "org/evil"].listed = change
    hub_client._newest.clear()


def test_a_tokenizer_of_a_gigabyte_is_not_fetched(server, saved, tmp_path):
    server.put("org/evil", saved("bert", 1))
    for name, said in (("tokenizer.json", "the tokenizer of org/evil is 1,000,000,000 bytes, more than"), ("tokenizer_config.json", "is 1,000,000,000 bytes")):
        server.repositories["models", "org/evil"].commits = {}
        server.put("org/evil", contents(saved("bert", 1)) | {"x": name.encode()})  # another commit
        listed(server, lambda files, name=name: [one | ({"size": 10**9} if one["rfilename"] == name else {}) for one in files])
        refused("hub:org/evil", said)
    assert sum(one.sent for one in server.asked) < 300_000
    folder = changed(saved("bert", 1), tmp_path / "evil")
    with open(folder / "tokenizer.json", "ab") as file:
        file.truncate(10**9)
    refused(f"local:{folder}", "tokenizer.json is larger than 200 MiB")


PATHS = ["../../evil.safetensors", "/etc/evil.safetensors", "a/../../evil.safetensors", "..\\..\\evil.safetensors", "C:evil.safetensors", "evil\0.safetensors", ".", "..",
         "", "//evil", "a//evil.safetensors", "evil\n.safetensors", "./model.safetensors", "\ud800.safetensors", "model.safetensors/../../../x"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_a_name_that_leads_elsewhere_is_not_followed(server, saved, tmp_path, path):
    index = json.dumps({"weight_map": {"w": path}}).encode()
    folder = changed(saved("bert", 1), tmp_path / "in" / "evil", **{"model.safetensors": None, "model.safetensors.index.json": index})
    for place in (tmp_path / "evil.safetensors", tmp_path / "in" / "evil.safetensors"):
        shutil.copyfile(saved("bert", 1) / "model.safetensors", place)  # it is there to be found
    for address in both(server, folder):
        refused(address, "names no files beside it")
    server.put("org/evil", saved("bert", 1))
    before = sorted(tmp_path.rglob("*"))
    listed(server, lambda files: [*files, files[0] | {"rfilename": path}])
    refused("hub:org/evil", "which leads out of it")
    assert sorted(tmp_path.rglob("*")) == before and not (path and fetched(server, path))


@pytest.mark.parametrize("siblings", [7, [7], [{}], [{"rfilename": 5}], {"a": 1}, [{"rfilename": "x", "size": "many"}], [{"rfilename": "x", "lfs": 7}], [{"rfilename": "x" * 2000}]])
def test_a_listing_that_is_none_is_refused(server, saved, siblings):
    server.put("org/evil", saved("bert", 1))
    listed(server, lambda files: siblings)
    refused("hub:org/evil", "is damaged|leads out of it|no config.json")


def test_a_listing_with_a_million_files_is_not_read_to_its_end(server, saved, monkeypatch):
    server.put("org/evil", saved("bert", 1))
    listed(server, lambda files: [*files, *({"rfilename": f"{i}", "size": 1, "blobId": "0"} for i in range(1_000_000))])
    read = []
    monkeypatch.setattr(hubinfo.json, "loads", lambda text: read.append(len(text)))
    refused("hub:org/evil", "too many files: to list them takes more than 500,000 bytes")
    assert not read


def test_links_in_a_folder_of_ones_own_are_followed(saved, tmp_path):
    folder = tmp_path / "links"
    folder.mkdir()
    for file in saved("bert", 1).iterdir():
        (folder / file.name).symlink_to(file)
    assert look(f"local:{folder}", "a").digest == look(f"local:{saved('bert', 1)}", "a").digest
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("/dev/zero")
    refused(f"local:{folder}", "no model.safetensors")


def test_a_link_in_a_repository_is_a_small_text_and_leads_nowhere(server, saved, tmp_path):
    server.put("org/evil", contents(saved("bert", 1)) | {"model.safetensors": b"/etc/passwd"})
    refused("hub:org/evil", "no safetensors file")


def test_a_host_opens_no_folder_whatever_link_it_is(host, saved):
    from mcore.limits import check
    from mcore.profile import profile

    host()
    with pytest.raises(QuestionError, match="^a: this host opens no files of its own; .*make run"):
        check(asked(f"local:{saved('bert', 1)}", "builtin:austen", "x"), profile())


def test_markup_in_names_is_text(server, saved, rows, store, tmp_path):
    labels = ("<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>")
    folder = tiny.save(tmp_path / "m", "bert", 3, labels=labels)
    for address in both(server, folder):
        looked = look(address, "a")
        assert looked.labels == labels and not looked.notices
    resolved = resolve(asked("hub:org/evil", f"local:{saved('bert', 1)}", rows))
    assert resolved.a.labels == labels  # as text; what shows it escapes it


def test_a_million_labels_are_refused(server, saved, tmp_path):
    names = {str(i): f"label {i}" for i in range(1_000_000)}
    folder = changed(saved("bert", 1), tmp_path / "evil", **{"config.json": config_of(saved("bert", 1), id2label=names)})
    for address in both(server, folder):
        refused(address, "larger than 8 MiB|bytes, more than")
    some = changed(saved("bert", 1), tmp_path / "some", **{"config.json": config_of(saved("bert", 1), id2label=dict(list(names.items())[:20_000]))})
    refused(f"local:{some}", "names 20,000 labels")


def test_a_payload_beside_safetensors_is_never_touched(server, saved, rows, store, tmp_path):
    folder = shutil.copytree(saved("bert", 1), tmp_path / "evil")
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "rng_state.pth"):
        torch.save(Opened(str(tmp_path / "ran")), folder / name)
    for address in both(server, folder):
        assert losses(asked(address, f"local:{saved('bert', 2)}", rows), store)
    assert not (tmp_path / "ran").exists() and not fetched(server, ".bin") and not fetched(server, ".pt")


@pytest.mark.parametrize("shards", [20, 80])
def test_looking_at_a_repository_of_any_size_takes_less_than_a_megabyte(server, saved, shards):
    """100 GB in shards, a configuration with labels, an index and a tokenizer that are as large as such files get."""
    each = 100 * 10**9 // shards
    names = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
    tensors = {name: {f"model.layers.{i}.{k}.weight": tensor([each // 400], k * (each // 100), (k + 1) * (each // 100)) for k in range(100)} for i, name in enumerate(names)}
    files = contents(saved("bert", 1)) | {name: header(told) for name, told in tensors.items()}
    files |= {"model.safetensors.index.json": json.dumps({"weight_map": {t: name for name, told in tensors.items() for t in told}}).encode()}
    files |= {f"checkpoint-{i}/{name}": b"x" for i in range(40) for name in ("optimizer.pt", "trainer_state.json", "rng_state.pth")}
    files["tokenizer.json"] = json.dumps(json.loads(files["tokenizer.json"]) | {"padding": "x" * 690_000}).encode()
    del files["model.safetensors"]
    server.put("org/evil", files)
    listed(server, lambda told: [one | ({"size": 8 + int.from_bytes(files[one["rfilename"]][:8], "little") + each} if one["rfilename"] in names else {}) for one in told])
    looked = look("hub:org/evil", "a")
    assert sum(one.sent for one in server.asked) < 1_000_000
    assert looked.bytes > 99 * 10**9 and looked.parameters == pytest.approx(25 * 10**9, rel=0.1)
    assert looked.unread == (shards == 80)


def test_the_most_that_a_look_may_read_is_less_than_a_megabyte(server, saved, tmp_path):
    """A pickle whose proposals are looked through, with as many files, labels and words as are read at all."""
    files = contents(pickled(saved("bert", 1), tmp_path / "old"))
    files["config.json"] = config_of(saved("bert", 1), more="x" * 190_000)
    files["tokenizer.json"] = json.dumps(json.loads(files["tokenizer.json"]) | {"padding": "x" * 690_000}).encode()
    files |= {f"{'x' * 60}-{i}": b"" for i in range(390)}
    for revision in ("main", "refs/pr/1", "refs/pr/2", "refs/pr/3"):
        server.put("org/evil", files, revision=revision)
    assert look("hub:org/evil", "a").tokenizer.startswith("files ")  # there was no room left to read it
    assert sum(one.sent for one in server.asked) < 1_000_000


PIECES = ["", "org", "name", "..", ".", "/", "//", "@", "@@", "main", "refs/pr/1", "refs/pr/", "refs/heads/../x", "%2e%2e", "%2F", "%00", "\0", "\n", "\t", " ", "　", "\u202e",
          "http://", "https://example.org/", "file:///etc/passwd", "hub:", "?", "#", "&", "=", ";", "|", "$(id)", "`id`", "'", '"', "\\", "..\\..\\", "é", "ß", "名前", "🛤️", "\ud800", "a" * 97,
          "a" * 2000, "--", "-", "_", "~", "datasets/", "models/", "api/models/", "resolve/main/", "0" * 40, "f" * 40, "{}", "{repo}", "%s", "<b>", "None", "CON", "v1.0", "org/name",
          "org/name@", "org/name@main", "x/y@", "\u0000", "\x7f", "\x1b[31m", "٣", "Ａ", "K", "ſ"]  # fmt: skip


def nasty(draw: random.Random) -> str:
    """A name or a revision, or what pretends to be one."""
    kind = draw.random()
    if kind < 0.25:
        return "".join(draw.choices(PIECES, k=draw.randint(1, 6)))
    if kind < 0.7:  # one that is nearly right
        text = list(f"org/name-{draw.randint(0, 9)}@{draw.choice(['main', 'refs/pr/1', 'v1', 'a' * 40])}")
        for _ in range(draw.randint(0, 2)):
            text.insert(draw.randrange(len(text) + 1), draw.choice(PIECES))
        return "".join(text)
    if kind < 0.85:
        return "".join(draw.choices(string.ascii_letters + string.digits + "./@-_%", k=draw.randint(1, 60)))
    return "".join(chr(draw.choice([draw.randrange(128), draw.randrange(0x3000), draw.randrange(0x110000)])) for _ in range(draw.randint(1, 30)))


EXPECTED = re.compile(
    r"/api/models/[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*/revision/[A-Za-z0-9][\w.%-]*\?blobs=true"
    r"|/[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*/resolve/[0-9a-f]{40}/[\w.-]+", re.ASCII
)  # fmt: skip


def test_ten_thousand_names_make_no_traceback_and_no_unexpected_request(server, saved, tmp_path):
    server.put("org/name", saved("bert", 1))
    server.put("org/name", saved("bert", 2), revision="refs/pr/1")
    draw, found, began = random.Random(4), 0, time.monotonic()
    for i in range(10_000):
        rest = nasty(draw)
        try:
            looked = look(f"hub:{rest}", "a")
        except QuestionError as told:
            assert told.field == "a" and "\n" not in str(told) and len(str(told)) < 2 * LONGEST + 50
            str(told).encode()
        else:
            found += 1
            assert re.fullmatch(r"hub:org/name@[0-9a-f]{40}", looked.address), rest
        if i % 500 == 0:
            hub_client._newest.clear()
    assert found > 10 and len(server.asked) > 2_000  # it did ask, and was answered
    unexpected = [one.path for one in server.asked if not EXPECTED.fullmatch(one.path)]
    assert not unexpected and not any(".." in one.path for one in server.asked)
    assert time.monotonic() - began < 60
    assert {path.name for path in tmp_path.iterdir()} <= {"cache", "store"}


def test_the_same_strings_as_a_base_of_an_adapter_ask_for_nothing_else(server, saved, tmp_path):
    from mcore.models.adapters import base_on_the_hub

    draw = random.Random(5)
    for _ in range(2_000):
        try:
            told = base_on_the_hub({"base_model_name_or_path": nasty(draw), "revision": draw.choice([None, nasty(draw)])}, "a")
        except QuestionError:
            continue
        hub_client.parse(told, "a")


def test_what_is_at_hand_is_what_was_looked_at(server, saved, store):
    assert at_hand(look(f"local:{saved('bert', 1)}", "a"), "a", store) == look_at(saved("bert", 1), f"local:{saved('bert', 1)}", "a")
