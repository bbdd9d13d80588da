"""What all charts share: colours in light, dark and print, the way from blue to orange, scales, files.

Blue to orange through plum rises evenly and is told apart with any colour vision; greys carry the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import altair as alt
import vl_convert

from mcore.paths.ways import ends, span, way

alt.data_transformers.disable_max_rows()

NARROW = 30  # times the size of its letters: a chart's width below which the names of the ends leave no room for the t beside them
PAGE_FONT = "Source Sans, Source Sans Pro, Helvetica, Arial, sans-serif"
PAPER_FONT = "Helvetica, Arial, Liberation Sans, sans-serif"


@dataclass(frozen=True)
class Theme:
    """Colours and sizes by what they are for. ``way`` holds the stops from A to B."""

    a: str
    b: str
    way: tuple[str, ...]
    text: str
    quiet: str  # second-rank text
    line: str  # second-rank lines: chord, ensemble, baseline
    grid: str
    ground: str  # what lies behind the chart, to cut labels free of lines
    size: float = 12
    font: str = PAGE_FONT
    background: str = "transparent"


LIGHT = Theme(
    "#2563eb", "#ea730c", ("#2563eb", "#9d5597", "#ea730c"), "#1f2430", "#667085", "#7b8494", "#e9ebef", "#ffffff"
)
DARK = Theme(
    "#6ea2ff", "#ff9a3d", ("#6ea2ff", "#c98ac0", "#ff9a3d"), "#e7e9ee", "#9aa2b1", "#8b93a3", "#2b303b", "#0e1117"
)
PAPER = Theme(
    "#1f55d0", "#d9640a", ("#1f55d0", "#93508d", "#d9640a"), "#000000", "#000000", "#6a6a6a", "#e6e6e6", "#ffffff",
    size=9.5, font=PAPER_FONT, background="white",
)  # fmt: skip


def theme(dark: bool) -> Theme:
    """The colours of a page."""
    return DARK if dark else LIGHT


def finish(chart: alt.LayerChart, look: Theme, width: int | str, height: int, told: str = "") -> alt.LayerChart:
    """The chart with its size, colours and description. All charts are one layered view, which fits any width."""
    told_of = {
        "width": width,
        "height": height,
        "description": told,
        "background": look.background,
        "padding": {"left": 4, "top": 4, "right": 10, "bottom": 4},
        "autosize": alt.AutoSizeParams(type="fit-x", contains="padding"),
        "config": alt.Config(
            font=look.font,
            view=alt.ViewConfig(stroke=None),
            axis=alt.AxisConfig(
                labelColor=look.quiet, titleColor=look.text, gridColor=look.grid, tickColor=look.grid,
                domainColor=look.grid, labelFontSize=look.size, titleFontSize=look.size, titleFontWeight=600,
                labelPadding=6, domain=False, ticks=False,
            ),
            text=alt.MarkConfig(font=look.font, fontSize=look.size),
            mark=alt.MarkConfig(aria=False),  # read aloud, hundreds of pieces of lines would drown the description
        ),
    }  # fmt: skip
    for name, value in told_of.items():  # properties() and configure() would each copy every layer with its rows
        chart[name] = value
    return chart


def panel_axis(title: str, top: float, number_format: str, values: list[float] | None = None) -> alt.Axis:
    """A left axis whose title lies flat above its own panel, where it takes no width."""
    options = {} if values is None else {"values": values}
    return alt.Axis(
        title=title, format=number_format, titleAngle=0, titleAlign="left", titleAnchor="start", titleX=0,
        titleY=top - 10, titleBaseline="bottom", grid=True, orient="left", offset=10, **options,
    )  # fmt: skip


def panel_scale(domain: tuple[float, float], top: float, bottom: float) -> alt.Scale:
    """A fixed vertical scale that fills the pixels from ``top`` to ``bottom``."""
    return alt.Scale(domain=list(domain), range=[bottom, top], nice=False, zero=False)


def way_scale(look: Theme) -> alt.Scale:
    """From A's colour to B's along t."""
    return alt.Scale(domain=[0, 0.5, 1], range=list(look.way), interpolate="rgb", clamp=True)


def way_x(look: Theme, result: Mapping, asked: Iterable[float] = ()) -> alt.X:
    """The horizontal axis of one task's entry of a result: from A to B, and beyond them where it has points."""
    low, high = span([*result.get("t", ()), *asked])
    return alt.X("t:Q", scale=alt.Scale(domain=[low, high], nice=False), axis=way_axis(look, result, (low, high)))


def way_axis(look: Theme, result: Mapping | None = None, shown: tuple[float, float] = (0.0, 1.0)) -> alt.Axis:
    """The axis from A to B, each end named in its colour; what is neither of the two is named in the chart."""
    coloured = [{"test": "datum.value === 0", "value": look.a}, {"test": "datum.value === 1", "value": look.b}]
    first, last = (f"{name} · t = " if len(name) == 1 else "t = " for name in ends(way(result or {})))
    parts = 5 if shown == (0.0, 1.0) else 2  # few enough beyond the ends that the ends keep their names where there is little room
    crowded = f"width < {NARROW * look.size:g} && datum.value !== 0 && datum.value !== 1 && abs(datum.value - 0.5) > 0.15 ? '' : " if parts == 5 else ""
    every = [i / parts for i in range(math.ceil(shown[0] * parts - 1e-9), math.floor(shown[1] * parts + 1e-9) + 1)]
    return alt.Axis(
        title=None, values=every, grid=False, offset=8, labelFlush=True, labelBound=False,
        labelExpr=f"{crowded}datum.value === 0 ? '{first}0' : datum.value === 1 ? '{last}1' : format(datum.value, '.1f')",
        labelColor={"condition": coloured, "value": look.quiet},
        labelFontWeight={"condition": {"test": "datum.value % 1 === 0", "value": 600}, "value": "normal"},
    )  # fmt: skip


def step_of(span: float) -> float:
    """A round step (1, 2 or 5 times a power of ten) that divides ``span`` into three to eight."""
    raw = max(span, 1e-9) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    return power * min((1, 2, 5, 10), key=lambda factor: abs(math.log(factor * power / raw)))


def growing(first: Iterable[float], arrived: Iterable[float], room: float, floor: float, ceiling: float = math.inf):
    """A rounded domain that depends on ``first`` alone while ``arrived`` lies inside, and else only grows.

    The step of the rounding comes from ``first`` (at least one number), so new values never make an axis
    jitter. ``room`` is a share of the span left free above and below; ``floor`` and ``ceiling`` bound it.
    """
    first = list(first)
    low, high = min(first), max(first)
    margin = room * max(high - low, 1e-9)
    step = step_of(high - low + 2 * margin)
    low, high = min([low, *arrived]), max([high, *arrived])
    bottom = max(floor, math.floor((low - margin) / step + 1e-9) * step)
    top = min(ceiling, math.ceil((high + margin) / step - 1e-9) * step)
    return round(bottom, 10), round(top, 10)


def ticks(domain: tuple[float, float], most: int = 5) -> list[float]:
    """Round values inside the domain, at most ``most`` + 1 of them."""
    step = step_of(domain[1] - domain[0])
    while (domain[1] - domain[0]) / step > most + 1e-9:
        step = step_of(step * 10)
    first = math.ceil(domain[0] / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(domain[1] / step + 1e-9) + 1)]


def to_svg(chart: alt.TopLevelMixin) -> bytes:
    """The chart as an SVG file."""
    return vl_convert.vegalite_to_svg(_sized(chart)).encode()


def to_png(chart: alt.TopLevelMixin, scale: float = 2) -> bytes:
    """The chart as a PNG file, ``scale`` pixels for each of the chart's own."""
    return vl_convert.vegalite_to_png(_sized(chart), scale=scale)


def _sized(chart: alt.TopLevelMixin) -> dict:
    """The chart's specification; a file has no container, so one that fills its container gets a width."""
    spec = chart.to_dict()
    return spec | {"width": 720} if spec.get("width") == "container" else spec
