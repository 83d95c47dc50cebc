"""The figures of a sentiment model as a page for a terminal. Owns words and layout; computes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def sentiment_page(figures: Mapping[str, Any]) -> str:
    """The whole page, ending with a line break."""
    return "\n".join(_lines(figures)) + "\n"


def _lines(f: Mapping[str, Any]) -> Iterator[str]:
    title = f"sentiment: hashed words to int8 on {f['data']['file']}"
    yield title
    yield "=" * len(title)
    yield f"{f['rows']:,} texts: " + ", ".join(f"{count:,} {name}" for name, count in f["classes"].items())
    yield f"labels: {f['data']['meaning']}"
    yield f"split: {f['split']}"
    yield ""
    yield f"{'who judges':<20}{'accuracy':>9}   {'95 %':<17}{'macro-F1':>8}   {'95 %':<17}{'model is ahead by (macro-F1)':<28}"
    yield f"  {'this model':<18}{_worth(f)}"
    for name, one in f["baselines"].items():
        gain = f"{one['macro_f1_gain']:+.3f}  ({one['macro_f1_gain_low']:+.3f} to {one['macro_f1_gain_high']:+.3f})"
        yield f"  {name.replace('_', ' '):<18}{_worth(one)}{gain}"
    yield ""
    yield f"{'class':<20}{'precision':>9}{'recall':>9}{'F1':>9}"
    for name, one in f["per_class"].items():
        yield f"  {name:<18}{_n(one['precision']):>9}{_n(one['recall']):>9}{_n(one['f1']):>9}"
    yield ""
    yield (
        f"calibration: ECE {f['ece']:.4f} of the likeliest class, log loss {f['log_loss']:.4f}"
        f" (always the shares {f['log_loss_base_rate']:.4f})"
    )
    yield (
        f"int8 says the same as float for {f['float_agreement']:.2%} of the texts (accuracy {f['accuracy']:.4f} against"
        f" {f['float_accuracy']:.4f})"
    )
    yield f"{f['bytes']:,} bytes to download, {f['p50_us']} us a text (p99 {f['p99_us']})"
    if f["warnings"]:
        yield ""
        yield from (f"note: {warning}" for warning in f["warnings"])
    yield ""
    yield f"{f['interval']}; {f['seconds']:.0f} s, {f['peak_mb']:.0f} MB peak"


def _worth(one: Mapping[str, float]) -> str:
    return (
        f"{one['accuracy']:>9.3f}   {one['accuracy_low']:.3f} to {one['accuracy_high']:.3f}   "
        f"{one['macro_f1']:>8.3f}   {one['macro_f1_low']:.3f} to {one['macro_f1_high']:.3f}   "
    )


def _n(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
