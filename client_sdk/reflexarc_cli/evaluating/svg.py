"""Charts as inline SVG: axes with round ticks, lines, bands, bars, dots, and a legend.

Owns geometry only. Colours are CSS classes of the page that holds the chart, so that it follows the page's theme. Must never
take text that is not escaped, nor reach for anything outside the page.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Final

WIDTH: Final = 420
HEIGHT: Final = 300
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 14, 42

Points = Sequence[tuple[float, float]]


class Chart:
    """One chart in data coordinates. x, y: (lowest, highest). Everything drawn is clipped to them. legend_on_top: where curves
    leave the upper right free rather than the lower.
    """

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], x_title: str, y_title: str, *, title: str, percent: bool = False,
        legend_on_top: bool = False, width: int = WIDTH, height: int = HEIGHT,
    ) -> None:  # fmt: skip
        self._x, self._y = _wide(x), _wide(y)
        self._width, self._height = width, height
        self._parts: list[str] = []
        self._legend: list[tuple[str, str]] = []
        self._title = title
        self._legend_on_top = legend_on_top
        self._axes(x_title, y_title, percent)

    def line(self, points: Points, kind: str, name: str = "") -> None:
        """A line through the points, in their order."""
        path = " ".join(f"{self._at_x(x):.1f},{self._at_y(y):.1f}" for x, y in points)
        self._parts.append(f'<polyline class="line {kind}" points="{path}"/>')
        self._named(kind, name)

    def area(self, points: Points, kind: str) -> None:
        """What lies under the points, down to the axis."""
        if points:
            closed = [(points[0][0], self._y[0]), *points, (points[-1][0], self._y[0])]
            path = " ".join(f"{self._at_x(x):.1f},{self._at_y(y):.1f}" for x, y in closed)
            self._parts.append(f'<polygon class="area {kind}" points="{path}"/>')

    def dots(self, points: Points, kind: str, name: str = "", radius: float = 3.5) -> None:
        """A dot for each point."""
        self._parts += [
            f'<circle class="dot {kind}" cx="{self._at_x(x):.1f}" cy="{self._at_y(y):.1f}" r="{radius}"/>' for x, y in points
        ]
        self._named(kind, name)

    def whiskers(self, spans: Iterable[tuple[float, float, float]], kind: str) -> None:
        """(x, low, high): an interval at each x."""
        for x, low, high in spans:
            at, top, foot = self._at_x(x), self._at_y(high), self._at_y(low)
            self._parts.append(f'<line class="whisker {kind}" x1="{at:.1f}" x2="{at:.1f}" y1="{top:.1f}" y2="{foot:.1f}"/>')

    def bars(self, bars: Iterable[tuple[float, float, float]], kind: str) -> None:
        """(from, to, height) of each bar."""
        for start, end, height in bars:
            left, right, top = self._at_x(start), self._at_x(end), self._at_y(height)
            self._parts.append(
                f'<rect class="bar {kind}" x="{left + 0.5:.1f}" y="{top:.1f}" width="{max(0.5, right - left - 1):.1f}"'
                f' height="{max(0.0, self._at_y(self._y[0]) - top):.1f}"/>'
            )

    def upright(self, x: float, kind: str, name: str) -> None:
        """A dashed line from top to bottom."""
        at = self._at_x(x)
        self._parts.append(f'<line class="rule {kind}" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{self._height - BOTTOM}"/>')
        self._parts.append(f'<text class="tick" x="{at + 4:.1f}" y="{self._height - BOTTOM - 8}">{html.escape(name)}</text>')

    def svg(self) -> str:
        """The chart as one element."""
        legend = []
        for row, (kind, name) in enumerate(self._legend):
            foot = self._height - BOTTOM - 12 - 16 * (len(self._legend) - 1)
            y = (TOP + 10 if self._legend_on_top else foot) + 16 * row
            x = self._width - RIGHT - 8
            legend.append(f'<text class="tick" x="{x - 22}" y="{y + 4}" text-anchor="end">{html.escape(name)}</text>')
            legend.append(f'<line class="line {kind}" x1="{x - 16}" x2="{x}" y1="{y}" y2="{y}"/>')
        return (
            f'<svg role="img" aria-label="{html.escape(self._title)}" viewBox="0 0 {self._width} {self._height}"'
            f' xmlns="http://www.w3.org/2000/svg">{"".join(self._parts + legend)}</svg>'
        )

    def _axes(self, x_title: str, y_title: str, percent: bool) -> None:
        low, right, bottom = LEFT, self._width - RIGHT, self._height - BOTTOM
        for value in ticks(*self._y):
            y = self._at_y(value)
            self._parts.append(f'<line class="grid" x1="{low}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self._parts.append(
                f'<text class="tick" x="{low - 6}" y="{y + 3.5:.1f}" text-anchor="end">{shown(value, percent)}</text>'
            )
        for value in ticks(*self._x):
            x = self._at_x(value)
            self._parts.append(
                f'<text class="tick" x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{shown(value, percent)}</text>'
            )
            self._parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        self._parts.append(f'<line class="axis" x1="{low}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
        middle = (low + right) / 2
        self._parts.append(
            f'<text class="title" x="{middle:.0f}" y="{self._height - 8}" text-anchor="middle">{html.escape(x_title)}</text>'
        )
        across = (TOP + bottom) / 2
        self._parts.append(
            f'<text class="title" transform="rotate(-90 13 {across:.0f})" x="13" y="{across:.0f}" text-anchor="middle">'
            f"{html.escape(y_title)}</text>"
        )

    def _named(self, kind: str, name: str) -> None:
        if name:
            self._legend.append((kind, name))

    def _at_x(self, value: float) -> float:
        share = (min(max(value, self._x[0]), self._x[1]) - self._x[0]) / (self._x[1] - self._x[0])
        return LEFT + share * (self._width - LEFT - RIGHT)

    def _at_y(self, value: float) -> float:
        share = (min(max(value, self._y[0]), self._y[1]) - self._y[0]) / (self._y[1] - self._y[0])
        return self._height - BOTTOM - share * (self._height - TOP - BOTTOM)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers within [low, high], about `wanted` of them."""
    span = high - low
    rough = span / wanted
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def shown(value: float, percent: bool = False) -> str:
    """A tick's text: short, never in powers of ten below a billion."""
    if percent:
        return f"{100 * value:.3g}%"
    for size, mark in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if mark == 'k' else size):.3g}{mark}"
    return f"{value:.4g}"


def _wide(of: tuple[float, float]) -> tuple[float, float]:
    low, high = of
    if high > low:
        return low, high
    reach = abs(low) * 0.05 or 0.5
    return low - reach, high + reach
