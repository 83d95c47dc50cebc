"""The figures of an evaluation as a page for a terminal. Owns words and layout; computes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def page(figures: Mapping[str, Any]) -> str:
    """The whole page, ending with a line break."""
    return "\n".join(_lines(figures)) + "\n"


def _lines(f: Mapping[str, Any]) -> Iterator[str]:
    title = f"{f['model']}: {f['algorithm'].replace('_', ' ')} on {f['data']['file']}"
    yield title
    yield "=" * len(title)
    yield f"{f['rows']:,} rows measured, {f['positives']:,} positive ({f['positive_rate']:.1%})"
    yield f"split: {f['split']}"
    yield f"inputs ({len(f['inputs'])}): {_listed(f['inputs'])}"
    yield ""
    yield f"{'who ranks':<24}{'AUC':>8}   {'95 %':<16}{'model is ahead by':<18}"
    yield f"  {'server form':<22}{_n(f['auc']):>8}   {_between(f, 'auc'):<16}"
    student = f["student"]
    yield f"  {'on the device':<22}{_n(student['auc']):>8}   {_between(student, 'auc'):<16}{_n(student['auc_loss'], 4)}"
    for name, one in f["baselines"].items():
        gain = f"{one['gain']:+.4f}  ({one['gain_low']:+.4f} to {one['gain_high']:+.4f})" if one.get("gain") is not None else ""
        yield f"  {name.replace('_', ' '):<22}{_n(one['auc']):>8}   {_between(one, 'auc'):<16}{gain}"
    yield ""
    yield (
        f"calibration: Brier {_n(f['brier'], 4)} (always the base rate {_n(f['brier_base_rate'], 4)}),"
        f" ECE {_n(f['ece'], 4)} over {f['ece_bins']} bins; average precision {_n(f['average_precision'])}"
    )
    yield ""
    sure_of = f"and confidence over {f['confidence_min']}"
    yield f"{'':<44}   {sure_of:>45}"
    yield f"{'over the line':<16}{'flagged':>9}{'precision':>11}{'recall':>8}   {'flagged':>26}{'precision':>11}{'recall':>8}"
    for one in f["lines"]:
        score, sure = one["score"], one["score_and_confidence"]
        yield (
            f"  {one['line']:<14}{score['flagged']:>9,}{_n(score['precision']):>11}{_n(score['recall']):>8}"
            f"   {sure['flagged']:>26,}{_n(sure['precision']):>11}{_n(sure['recall']):>8}"
        )
    yield ""
    yield f"{'device form':<16}{'agreement':>10}{'flips':>7}{'near':>14}{'Jaccard':>9}{'decisions that flip':>21}"
    for one in f["lines"]:
        s = one["student"]
        near = f"{s['flips_near']:,} of {s['rows_near']:,}"
        flips = f"{s['flips']:>7,}{near:>14}{_n(s['jaccard']):>9}{s['decision_flips']:>21,}"
        yield f"  {one['line']:<14}{_n(s['agreement'], 4):>10}{flips}"
    yield (
        f"  {student['form']}: {student['bytes']:,} bytes to download (server form {student['server_bytes']:,}),"
        f" {student['p50_us']} us a score (p99 {student['p99_us']})"
    )
    if f["warnings"]:
        yield ""
        for warning in f["warnings"]:
            yield f"note: {warning}"
    yield ""
    yield f"{f['interval']}; {f['seconds']:.0f} s, {f['peak_mb']:.0f} MB peak"


def _n(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _between(of: Mapping[str, Any], name: str) -> str:
    low, high = of.get(f"{name}_low"), of.get(f"{name}_high")
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _listed(names: list[str], shown: int = 12) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
