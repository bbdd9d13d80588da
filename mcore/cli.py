"""The command line: the same engine without a page.

Exit status 0: done; 2: a question that cannot be answered (one line on standard error); 130:
cancelled, everything finished so far kept. Progress goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from mcore import events, words
from mcore.errors import Cancelled, McoreError, QuestionError
from mcore.evaluation.measures import named
from mcore.hub.rows import telling
from mcore.link import link, unlink
from mcore.paths import best
from mcore.pin import pinned
from mcore.question import MOST_BYTES, as_written, parse, parse_recipe
from mcore.resolve import resolve, resolve_recipe
from mcore.result import collect
from mcore.store import Store
from mcore.taking import DTYPES, Take, best_of
from mcore.taking import check as check_take
from mcore.taking import key as taken_key
from mcore.threads import share_the_cores

EXPORT = "save the model at one point of a path as a transformers folder, which loads with transformers alone"

TESTED = "carry out the experiments of the paper's findings on the family that ships, and write what they come to"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise QuestionError("command line", message, f"see {self.prog} --help")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    share_the_cores()
    try:
        options = _parser().parse_args(arguments)
        with telling(lambda *told: print(_fetching(*told), file=sys.stderr, flush=True)):  # rows of a data set
            options.command(options)
    except (KeyboardInterrupt, Cancelled):
        print(Cancelled(), file=sys.stderr)
        return 130
    except McoreError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m mcore", description="Mode connectivity of fine-tuned language models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, summary, argument in (
        ("run", _run, "evaluate the path of an experiment", "EXPERIMENT.json"),
        ("finetune", _finetune, "carry out a recipe", "RECIPE.json"),
        ("link", _link, "print the share link's query string", "EXPERIMENT.json"),
        ("unlink", _unlink, "print the experiment of a share link", "QUERY"),
    ):
        sub = commands.add_parser(name, help=summary, description=summary)
        sub.add_argument("question", metavar=argument)
        sub.set_defaults(command=command)
        if name == "link":
            sub.add_argument("--pin", action="store_true", help="name commits on the Hub instead of branches")
        if name in ("run", "finetune"):
            sub.add_argument("--store", metavar="DIR", help="where results are kept (default: the user's cache)")
            out = "RESULT.json" if name == "run" else "MODEL_DIR"
            sub.add_argument("--out", metavar=out, help="where the result goes" + (" (default: standard output)" if name == "run" else ""))
    sub = commands.add_parser("export", help="save the model at one point of a path", description=EXPORT)
    sub.add_argument("question", metavar="EXPERIMENT.json")
    sub.add_argument("--t", required=True, metavar="T|best", help="where on the path; best: of the lowest loss on half of the evaluated rows")
    sub.add_argument("--out", metavar="MODEL_DIR", help="where the model goes: a folder that is new or empty")
    sub.add_argument("--dtype", choices=DTYPES, default="float32", help="of the saved weights (default: float32)")
    sub.add_argument("--push", metavar="ORG/NAME", help="send it to the Hub too, as a new private repository, with HF_TOKEN or the login's token")
    sub.add_argument("--pull-request", action="store_true", help="with --push: offer it to a repository that is there")
    sub.add_argument("--public", action="store_true", help="with --push: the new repository is for everybody")
    sub.add_argument("--store", metavar="DIR", help="where results are kept (default: the user's cache)")
    sub.set_defaults(command=_export)
    sub = commands.add_parser("findings", help="test the paper's findings here", description=TESTED)
    sub.add_argument("--only", metavar="F1,F3", help="these alone (default: all seven)")
    sub.add_argument("--out", metavar="DIR", required=True, help="where findings.json and the figures go: a folder that is new or empty")
    sub.add_argument("--store", metavar="DIR", help="where results are kept (default: the user's cache)")
    sub.set_defaults(command=_findings)
    sub = commands.add_parser("store", help="show or clear what is kept", description="show or clear what is kept")
    sub.add_argument("--store", metavar="DIR")
    sub.add_argument("--clear", action="store_true", help="delete everything that is kept")
    sub.set_defaults(command=_store)
    return parser


def _run(options: argparse.Namespace) -> None:
    from mcore.run import run  # torch, which the other commands do without

    experiment = parse(_read(options.question, "experiment"))
    resolved, store = resolve(experiment), Store(options.store)
    for notice in resolved.notices:
        print(f"Note: {notice}", file=sys.stderr)
    _follow(run(experiment, store))
    _write(collect(resolved, store), options.out)


def _finetune(options: argparse.Namespace) -> None:
    from mcore.tuning.beginning import alone, hand_over
    from mcore.tuning.finetune import finetune

    resolved, store = resolve_recipe(parse_recipe(_read(options.question, "recipe"))), Store(options.store)
    out = Path(options.out) if options.out else None
    if out and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise QuestionError("--out", f"{out} is there already", "name a folder that is new or empty")
    _follow(finetune(resolved, store, "recipe"))
    folder = store.folder(resolved.fingerprint)
    if folder is None:
        raise McoreError("The model is no longer in the store; make its limit larger (MCORE_STORE_LIMIT) and run it again.")
    if out:
        hand_over(resolved, folder, out, store)
        if not alone(resolved.delta):
            print(f"Note: {resolved.delta} can be opened by this app alone: name local:{out} as an endpoint.", file=sys.stderr)
    print(out or folder)


def _export(options: argparse.Namespace) -> None:
    from mcore.export import check_free, export
    from mcore.run import run

    experiment = parse(_read(options.question, "experiment"))
    if not (options.out or options.push):
        raise QuestionError("--out", "it is missing, and so is --push", "say where the model goes")
    if options.push is None and (options.pull_request or options.public):
        raise QuestionError("--push", "it is missing", "name the repository, as ORG/NAME")
    out, store, resolved = Path(options.out) if options.out else None, Store(options.store), resolve(experiment)
    if out:
        check_free(out)
    take = Take(0.0 if options.t == "best" else _number(options.t), options.dtype, options.push, options.pull_request, not options.public)
    check_take(resolved, take)
    for notice in resolved.notices:
        print(f"Note: {notice}", file=sys.stderr)
    if options.t == "best":
        _follow(run(experiment, store))
        found = best_of(resolved, store)
        print(best.told(found, named(resolved.tasks[0])), file=sys.stderr)
        take = replace(take, t=found.t)
    _follow(export(experiment, take, store, out=out))
    print(out or store.folder(taken_key(resolved, take)))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise QuestionError("--t", f"{text[:40]!r} is no number", "give a number, or best") from None


def _findings(options: argparse.Namespace) -> None:
    from mcore.findings import carrying, said
    from mcore.findings.every import FINDINGS

    out = Path(options.out)
    carrying.check_free(out)
    carried = carrying.Carried(carrying.chosen(FINDINGS, options.only), Store(options.store))
    _follow(carried)
    for line in said.summary(carried.report):
        print(line, file=sys.stderr)
    for path in carrying.write(carried.report, FINDINGS, out):
        print(path)


def _link(options: argparse.Namespace) -> None:
    question = parse(_read(options.question, "experiment"))
    print(link(pinned(question, resolve(question).experiment) if options.pin else question))


def _unlink(options: argparse.Namespace) -> None:
    print(json.dumps(as_written(unlink(options.question)), indent=1, ensure_ascii=False))


def _store(options: argparse.Namespace) -> None:
    store = Store(options.store)
    if options.clear:
        print(f"{words.size(store.clear())} freed")
    entries = store.entries()
    print(f"{store.root}: {words.size(store.size())} of {words.size(store.limit_bytes)} in {len(entries)} entries")


def _read(path: str, field: str) -> str:
    try:
        with open(sys.stdin.fileno() if path == "-" else path, "rb") as file:
            return file.read(MOST_BYTES + 1).decode()
    except OSError as error:
        raise QuestionError(field, f"{path} cannot be read ({error.strerror})", "name a file with one JSON object") from None
    except UnicodeDecodeError:
        raise QuestionError(field, f"{path} is not UTF-8 text", "name a file with one JSON object") from None


def _write(result: dict, out: str | None) -> None:
    text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if out is None:
        print(text, end="")
        return
    try:
        Path(out).write_text(text, encoding="utf-8")
    except OSError as error:
        raise McoreError(f"--out: {out} cannot be written ({error.strerror}); the result is kept in the store.") from None


def _fetching(repo: str, done: int, of: int) -> str:
    return f"fetching {repo}, {words.size(done)} of {words.size(of)}"


def _follow(stream) -> None:
    """Progress as lines on standard error."""
    for event in stream:
        match event:
            case events.Resolved(fingerprint, points, stored):
                told = f"experiment {fingerprint}: {points} points, {stored} of them in the store"
            case events.Fetching(_, repo, done, of):
                told = _fetching(repo, done, of)
            case events.Training(side, step, steps, loss, accuracy):
                told = f"training {side.upper()}: step {step} of {steps}, loss {loss:.3f}" + (
                    f", validation accuracy {accuracy:.1%}" if accuracy is not None else ""
                )
            case events.Trained(side, _, steps):
                told = f"{side.upper()} is trained" if steps else f"{side.upper()} is in the store"
            case events.Fitting(step, steps, loss, t):
                told = f"fitting the path: step {step} of {steps}, loss {loss:.3f}" + (f" at t = {t:.2f}" if t is not None else "")
            case events.PointReady(task, t, loss, accuracy, done, points):
                told = f"[{done}/{points}] task {task} t = {t:.3f}: loss {loss:.4f}, {accuracy:.1%} right"
            case events.LayersReady(t, done, of):
                told = f"[{done}/{of}] layers at t = {t:.3f}"
            case events.Asked(name, number, of):
                told = f"question {number} of {of}: {name}"
            case events.Missed(name, sentence):
                told = f"{name} is left out: {sentence}"
            case events.Working(what):
                told = what
            case events.Pushed(url):
                told = f"it is at {url}"
            case _:
                continue
        left = getattr(event, "seconds_left", None)
        print(told + (f" · {words.duration(left)} left" if left else ""), file=sys.stderr, flush=True)
