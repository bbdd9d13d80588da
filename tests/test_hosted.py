"""Hosted: what visitors see of the host and of one another, and the start script as any user in an empty home."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser_fixtures import RECIPE, carry_out, question
from conftest import ROOT
from test_pages import jobs, page, store, words  # noqa: F401 (fixtures)

from benchmarks.visitor import Visitor, visit
from mcore import profile
from mcore.jobs.queue import Jobs
from mcore.link import link
from mcore.question import as_written, parse
from mcore.resolve import resolve
from mcore.store import Store
from mcore.ui import addresses

NOBODY = 65534
PATIENCE = 120.0
LOCAL_LINKS = {
    "a": {"a": "local:/etc/passwd"},
    "b.base": {"b": RECIPE | {"base": "local:/etc"}},
    "tasks.0.task": {"tasks": [{"task": "local:/nowhere.csv"}]},
}


@pytest.fixture
def hosted(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # noqa: F811
    monkeypatch.setenv("MCORE_PROFILE", "hosted")
    profile.profile.cache_clear()
    yield
    profile.profile.cache_clear()


def test_the_limits_stand_beneath_the_choices_only_on_a_host(store: Store, hosted: None) -> None:  # noqa: F811
    assert "On this host: at most 1,000 training steps" in words(page(question()))
    assert "On this host" in words(page(file="app.py"))
    os.environ["MCORE_PROFILE"] = "local"
    profile.profile.cache_clear()
    assert "On this host" not in words(page(question()))


def test_what_is_too_large_cannot_be_run_and_says_why(hosted: None) -> None:
    app = page(question(points=102))
    assert "points: 102 points are more than this host carries out; give at most 101, or run it on your own machine: " in words(app)
    assert app.button(key="run").disabled
    app = page(question(a=RECIPE | {"steps": 5000}))
    assert "a.steps: 5,000 training steps are more than this host carries out" in words(app)


@pytest.mark.parametrize(("field", "changes"), LOCAL_LINKS.items())
def test_a_link_learns_nothing_about_the_hosts_files(field: str, changes: dict, hosted: None) -> None:
    said = words(page(question(**changes)))
    assert f"{field}: this host opens no files of its own" in said
    assert "there is no" not in said and "No such file" not in said


def test_what_is_typed_is_not_looked_for_on_the_host(hosted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert (ROOT / "mcore/ui").exists()
    assert addresses.checkpoint("mcore/ui") == "hub:mcore/ui"
    profile.profile.cache_clear()
    monkeypatch.setenv("MCORE_PROFILE", "local")
    assert addresses.checkpoint("mcore/ui") == "local:mcore/ui"


def test_a_host_offers_no_folders_and_nobody_deletes_what_is_everybodys(hosted: None) -> None:
    app = page(question())
    kinds = app.get("button_group")
    assert kinds and not [one for one in kinds if "Folder" in str(one.proto)]
    assert not [button for button in page(file="app.py").button if button.key == "clear-store"]


def test_a_model_is_listed_for_who_asked_for_it_and_for_nobody_else(store: Store, hosted: None) -> None:  # noqa: F811
    asked = question(a=RECIPE | {"head_seed": 77})
    carry_out(asked, store)
    mine, theirs = page(asked), page(question())
    for app in (mine, theirs):
        app.session_state["chosen-kind-a"] = "Trained here"
        app.run()
        assert not app.exception

    def listed(app) -> str:
        return " ".join(option for box in app.selectbox if box.key == "stored-a" for option in box.options)

    assert "head 77" in listed(mine)
    assert "head 77" not in listed(theirs)


def test_a_visitor_has_three_questions_in_the_queue(jobs: Jobs, hosted: None) -> None:  # noqa: F811
    app = page(question(points=3))
    for points in (3, 4, 5, 6):
        app.text_input(key="in.points").set_value(str(points)).run()
        app.button(key="run").click().run()
    assert len(jobs.active()) == 3 and len({job.visitor for job in jobs.active()}) == 1
    assert "3 questions of yours wait in the queue already" in words(app)
    assert not page(question(points=6)).exception and len(jobs.active()) == 3


def test_visitors_are_told_apart_and_take_turns(jobs: Jobs, hosted: None) -> None:  # noqa: F811
    anna, ben = page(question(points=3)), page(question(points=5))
    anna.button(key="run").click().run()
    anna.text_input(key="in.points").set_value("4").run()
    anna.button(key="run").click().run()
    assert "1 question is ahead of this one" in words(anna)
    ben.button(key="run").click().run()
    assert "1 question is ahead of this one" in words(ben)
    assert "2 questions are ahead of this one" in words(anna.run())
    assert [job.experiment["points"] for job in jobs.active()] == [3, 5, 4]


def test_only_who_asked_cancels_and_who_joins_keeps_it_going(jobs: Jobs, hosted: None) -> None:  # noqa: F811
    anna = page(question())
    anna.button(key="run").click().run()
    (job,) = jobs.active()
    ben = page(question())
    assert not [button for button in ben.button if button.key == "cancel"]
    ben.button(key="join").click().run()
    assert [each.id for each in jobs.active()] == [job.id]
    anna.button(key="cancel").click().run()
    assert jobs.job(job.id).state == "queued", "ben still wants it"
    assert anna.button(key="join")
    ben.run().button(key="cancel").click().run()
    assert jobs.job(job.id).state == "cancelled"


@dataclass(frozen=True)
class Host:
    """The app as ``./start`` starts it in a read-only folder, as a user who owns nothing."""

    port: int
    home: Path
    said: Path


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    place = tmp_path_factory.mktemp("host")
    entered_by_others(place)
    project, home, said = place / "project", place / "home", place / "said"
    for name in ("app.py", "start", "requirements.txt"):
        project.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, project / name)
    for name in ("mcore", "pages", ".streamlit"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    home.mkdir()
    as_nobody, environment = unprivileged(home)
    for path in (*project.rglob("*"), project):
        path.chmod((path.stat().st_mode | 0o444) & 0o555)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment |= {"HOME": str(home), "PORT": str(port), "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}
    with open(said, "wb") as sink:
        app = subprocess.Popen(
            [project / "start"], cwd="/", env=environment, stdout=sink, stderr=sink, start_new_session=True, **as_nobody
        )
    try:
        until(lambda: answers(port) or app.poll() is not None)
        assert app.poll() is None, said.read_text()
        yield Host(port, home, said)
    finally:
        app.terminate()
        app.wait(timeout=20)
        for path in (project, *project.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)


def entered_by_others(folder: Path) -> None:
    """Let others enter a folder of pytest's, and those of pytest's that it is in."""
    for one in (folder, *folder.parents):
        if one == Path(tempfile.gettempdir()):
            return
        one.chmod(one.stat().st_mode | 0o711)


def unprivileged(home: Path) -> tuple[dict, dict[str, str]]:
    """Arguments for a process of a user who owns nothing but ``home``, and an environment with a Python that it may run.

    Root becomes nobody, with the system's Python where root's own is closed to others; anybody else stays who they are.
    """
    own = Path(sys.executable).parent
    for folder in (own, Path("/usr/bin"), Path("/usr/local/bin")):
        environment = {"PATH": os.pathsep.join([str(folder), "/usr/bin", "/bin"]), "PYTHONPATH": sysconfig.get_path("purelib")}
        if os.geteuid() != 0:
            return {}, environment
        if any(not above.stat().st_mode & 0o001 for above in (folder / "python3").resolve().parents):
            continue  # closed to others
        code = f"import sys, streamlit, numpy; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
        try:
            user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            subprocess.run(["python3", "-c", code], cwd="/", env=environment, check=True, timeout=PATIENCE, **user)
        except (OSError, subprocess.CalledProcessError):
            continue
        os.chown(home, NOBODY, NOBODY)
        return user, environment
    return {}, {"PATH": os.pathsep.join([str(own), "/usr/bin", "/bin"])}


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as told:
            return told.read() == b"ok"
    except OSError:
        return False


def until(true: Callable[[], object]) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < PATIENCE, "this did not happen in time"
        time.sleep(0.1)


def test_any_user_starts_it_in_an_empty_home_beside_a_folder_that_is_read_only(host: Host) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{host.port}/", timeout=10) as told:
        assert b"<!doctype html" in told.read().lower()
    assert "profile: hosted" in host.said.read_text()


def in_a_loop(coroutine):
    """What the coroutine gives, in a thread of its own: browser tests leave a loop that runs in this one."""
    with ThreadPoolExecutor(1) as one:
        return one.submit(asyncio.run, coroutine).result()



def test_a_visitor_sees_the_home_page_and_a_tiny_question_is_carried_out(host: Host) -> None:
    """With the real engine: two trainings of two steps (on a split that is watched on no other), and three points."""
    recipe = {"base": "builtin:austen@0", "task": {"task": "builtin:speech", "split": "test"}, "steps": 2, "cartography": 16}
    asked = parse({
        "version": 1, "a": recipe | {"head_seed": 1}, "b": recipe | {"head_seed": 2}, "points": 3,
        "tasks": [{"task": "builtin:speech", "limit": 16}],
    })  # fmt: skip

    async def seen(page: str, query: str, expected: str) -> bool:
        async with visit(host.port) as socket:
            visitor = Visitor(socket)
            await visitor.open(page, query)
            return visitor.says(expected)

    assert in_a_loop(seen("", "", "Are two fine-tuned models connected?"))
    queue = Jobs(host.home / ".cache/mode-connectivity-explorer")  # where the app's own store is
    id = queue.submit(as_written(asked), resolve(asked).fingerprint)
    until(lambda: queue.job(id).state not in ("queued", "running"))
    assert queue.job(id).state == "done", queue.job(id).sentence
    assert in_a_loop(seen("Compare", link(asked), "from the store"))


@pytest.mark.parametrize("home", ["", "/nonexistent/home"])
def test_without_a_home_it_takes_a_temporary_one(home: str, tmp_path: Path) -> None:
    """``python3`` tells what it was started with, in place of starting."""
    pretend = tmp_path / "python3"
    pretend.write_text('#!/bin/sh\necho "$HOME $MCORE_STORE $MCORE_PROFILE"\n')
    pretend.chmod(0o755)
    start = shutil.copy2(ROOT / "start", tmp_path / "start")
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(tmp_path)} | ({"HOME": home} if home else {})
    as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 and home else {}
    if as_nobody:
        entered_by_others(tmp_path)
        tmp_path.chmod(0o777)
    told = subprocess.run([start], env=environment, capture_output=True, text=True, check=True, timeout=30, **as_nobody)
    used, kept, named = told.stdout.splitlines()[0].split()
    assert Path(used).parent == tmp_path and kept == f"{used}/.cache/mode-connectivity-explorer" and named == "hosted"


def test_a_wrong_limit_stops_the_start_with_a_sentence() -> None:
    told = subprocess.run(
        [ROOT / "start"], env=os.environ | {"MCORE_MOST_POINTS": "lots"}, capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 2 and told.stderr.startswith("MCORE_MOST_POINTS is 'lots'; give a whole number")
