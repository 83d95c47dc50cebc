"""The figures of the optimal purchase window as a page for a terminal. Owns words and layout; computes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SHADES = " .:-=+*#%@"


def window_page(figures: Mapping[str, Any]) -> str:
    """The whole page, ending with a line break."""
    return "\n".join(_lines(figures)) + "\n"


def _lines(f: Mapping[str, Any]) -> Iterator[str]:
    data = f["data"]
    title = f"optimal purchase window: hours of the week on {data.get('file', 'made-up people')}"
    yield title
    yield "=" * len(title)
    for one in f["runs"]:
        yield ""
        yield (
            f"{one['occasions']:,} future occasions of {one['subjects']:,} subjects ({one['without_history']:,} without history,"
            f" {one['history_mean']:.1f} known of one)" + (f", seed {one['seed']}" if "seed" in one else "")
        )
        settings = one["settings"]
        yield (
            f"settings: spread {settings['bandwidth_h']} h, {settings['pooled']:.0%} over all days, everybody counts as"
            f" {settings['strength']} occasions"
        )
        best = f"in the {one['hours_chosen']} best hours"
        yield f"{'who says when':<18}{best:>22}   {'95 %':<17}{'log loss':>9}   {'95 %':<17}"
        for name, who in one["who"].items():
            hit, loss = _between(who, "hit_rate", 3), _between(who, "log_loss", 3)
            yield f"  {name.replace('_', ' '):<16}{who['hit_rate']:>22.4f}   {hit:<17}{who['log_loss']:>9.3f}   {loss:<17}"
        yield (
            f"hit rate against the raw histogram: x {one['hit_rate_vs_raw']:.3f} ({_between(one, 'hit_rate_vs_raw', 3)});"
            f" log loss below everybody's by {one['log_loss_gain_vs_global']:.3f} ({_between(one, 'log_loss_gain_vs_global', 3)})"
        )
    if "everybody" in f:
        yield ""
        yield from _week(f["everybody"])
    if f["warnings"]:
        yield ""
        yield from (f"note: {warning}" for warning in f["warnings"])
    yield ""
    yield f"{f['interval']}; {f['seconds']:.0f} s, {f['peak_mb']:.0f} MB peak"


def _week(everybody: Sequence[int]) -> Iterator[str]:
    """Everybody's week, an hour a column, darker where more happens."""
    top = max(everybody)
    yield "everybody" + " " * 3 + "0     6     12    18"
    for day, name in enumerate(_DAYS):
        hours = everybody[day * 24 : day * 24 + 24]
        yield f"  {name:<10}" + "".join(_SHADES[share * (len(_SHADES) - 1) // top] for share in hours)


def _between(of: Mapping[str, float], name: str, digits: int) -> str:
    return f"{of[f'{name}_low']:.{digits}f} to {of[f'{name}_high']:.{digits}f}" if f"{name}_low" in of else ""
