"""The one stream that a run is told by: typed events, each a line of JSON on the wire.

The page, the command line and the tests all read this stream; nobody computes progress twice.
``seconds_left`` is for the whole run, None as long as nothing was measured.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Resolved:
    """The question has been understood; ``points`` counts (t, task) pairs, ``stored`` those the store already has."""

    fingerprint: str
    points: int
    stored: int


@dataclass(frozen=True)
class Fetching:
    """A repository's files come from the Hub; ``done`` of ``of`` bytes are here. ``endpoint``: "a", "b" or a field below."""

    endpoint: str
    repo: str
    done: int
    of: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class Training:
    """A recipe is being carried out. ``endpoint`` is "a", "b" or "both" (one recipe named twice)."""

    endpoint: str
    step: int
    steps: int
    loss: float
    validation_accuracy: float | None = None
    validation_loss: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class Trained:
    """A recipe's model is in the store. ``steps`` were run now (0: it was there)."""

    endpoint: str
    fingerprint: str
    steps: int


@dataclass(frozen=True)
class Fitting:
    """A path is being fitted; ``loss`` at this step's ``t`` (None: of a mix, which has none)."""

    step: int
    steps: int
    loss: float
    t: float | None
    seconds_left: float | None = None


@dataclass(frozen=True)
class Working:
    """What is happening, in a few words, where nothing else tells ("reading the weights of A")."""

    what: str
    seconds_left: float | None = None


@dataclass(frozen=True)
class PointReady:
    """Responses of task number ``task`` at ``t`` are in the store. Loss in nats, accuracy as a fraction."""

    task: int
    t: float
    loss: float
    accuracy: float
    done: int
    points: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class LayersReady:
    """What the layers hold at ``t`` is in the store, for ``done`` of ``of`` t."""

    t: float
    done: int
    of: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class Pushed:
    """A saved model is on the Hub, at this address."""

    url: str


@dataclass(frozen=True)
class Asked:
    """The next question of a study begins; ``name`` is the study's own for it, ``number`` counts from 1."""

    name: str
    number: int
    of: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class Missed:
    """A question of a study could not be answered, and why; the others go on."""

    name: str
    sentence: str


@dataclass(frozen=True)
class Done:
    """Everything that was asked for is in the store; of a study, everything that this question of it asked for."""

    fingerprint: str


@dataclass(frozen=True)
class Failed:
    """The run ended early; ``sentence`` says why and what to do."""

    sentence: str


Event = Resolved | Fetching | Training | Trained | Fitting | Working | PointReady | LayersReady | Pushed | Asked | Missed | Done | Failed
KINDS = {kind.__name__: kind for kind in (Resolved, Fetching, Training, Trained, Fitting, Working, PointReady, LayersReady, Pushed, Asked, Missed, Done, Failed)}


def to_json(event: Event) -> dict:
    """The event as plain JSON values, its kind under ``event``."""
    return {"event": type(event).__name__, **asdict(event)}


def from_json(data: dict) -> Event:
    """The event that ``to_json`` wrote."""
    fields = dict(data)
    return KINDS[fields.pop("event")](**fields)
