"""An evaluation as one HTML page: no network, no script, printable, light and dark.

Owns the page's words and order. Every figure on it is one of `--json`'s, or a curve of the same rows. Must never show a row,
a subject or a value of a column beyond its name.
"""

from __future__ import annotations

import datetime
import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

import reflexarc
from reflexarc_cli.evaluating.svg import Chart
from reflexarc_models.train.evaluation.effects import Effect, effects
from reflexarc_models.train.evaluation.worth import Evaluation
from reflexarc_models.train.evidence.measures import ranking

CURVE_POINTS: Final = 240
SCATTER_POINTS: Final = 700
RUNS: Final = {
    "oblivious-int8": "a student: symmetric trees with int8 leaves",
    "qdq-int8": "a student: a small network, statically quantized",
    "onnx-trees5": "the forest itself",
}
"""What each of DEVICE_FORMS is."""
EFFECTS_SHOWN: Final = 8

STYLE: Final = """
:root{--ink:#16212c;--soft:#5b6b7a;--grid:#e6ebf0;--paper:#fff;--card:#f7f9fb;--one:#0f766e;--two:#c2570c;--three:#8a94a0}
@media(prefers-color-scheme:dark){:root{--ink:#e7edf3;--soft:#9aa9b8;--grid:#2a3642;--paper:#10171e;--card:#172029;
--one:#4fd1c0;--two:#fb9a4b;--three:#7c8894}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",
Roboto,sans-serif}main{max-width:960px;margin:0 auto;padding:40px 24px 72px}h1{font-size:28px;line-height:1.2;margin:0 0 4px;
letter-spacing:-.01em}h2{font-size:19px;margin:44px 0 6px;letter-spacing:-.005em}p{margin:6px 0 12px;max-width:72ch}
.sub,.note{color:var(--soft)}.note{font-size:13.5px}.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));
gap:12px;margin:24px 0 8px}.tile{background:var(--card);border-radius:10px;padding:14px 16px}.tile b{display:block;font-size:25px;
font-weight:650;letter-spacing:-.02em;font-variant-numeric:tabular-nums}.tile span{color:var(--soft);font-size:13px}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:20px}.small{grid-template-columns:repeat(auto-fit,
minmax(260px,1fr))}figure{margin:8px 0 0}figcaption{font-size:13.5px;color:var(--soft);margin-top:2px}figure>b{font-size:14px}
svg{width:100%;height:auto;display:block;overflow:visible}.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;
font-variant-numeric:tabular-nums;font-size:14px;margin:8px 0}th,td{text-align:right;padding:6px 10px;border-bottom:1px solid
var(--grid);white-space:nowrap}th{color:var(--soft);font-weight:500}th:first-child,td:first-child{text-align:left;padding-left:0}
td.text{white-space:normal;text-align:left}tr.best td{font-weight:650}.grid{stroke:var(--grid)}.axis{stroke:var(--soft)}
.tick{fill:var(--soft);font-size:11px}.title{fill:var(--soft);font-size:12px}.line{fill:none;stroke-width:2;stroke-linejoin:round}
.one{stroke:var(--one)}.two{stroke:var(--two)}.three{stroke:var(--three)}.ghost{stroke:var(--three);stroke-dasharray:4 4;
stroke-width:1.2}.area.one,.bar.one,.dot.one{fill:var(--one);stroke:none}.area.three{fill:var(--three);stroke:none}.area{opacity:.13}.bar.one{opacity:.75}.dot.two,
.bar.two{fill:var(--two);stroke:none}.dot.faint{fill:var(--one);stroke:none;opacity:.35}.whisker{stroke-width:1.5}.rule{
stroke-dasharray:3 3;stroke-width:1.2}@media print{main{padding:0}h2{break-after:avoid}figure{break-inside:avoid}}
"""


def html_report(found: Evaluation, figures: Mapping[str, Any], cost: float, value: float) -> str:
    """The whole page. cost: of acting on one subject; value: of acting on one that is positive, both in one unit of yours."""
    title = f"{figures['model'].replace('_', ' ').capitalize()}: what the model is worth"
    shown = effects(found.models[-1].server, found.last, found.spec.seed)[:EFFECTS_SHOWN] if found.last is not None else []
    sections = [
        *_head(title, figures), *_ranking(found, figures), *_calibration(found, figures),
        *_thresholds(found, figures, cost, value),
        *_effects(shown), *_quantized(found, figures), *_card(figures),
    ]  # fmt: skip
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{_e(title)}</title><style>{STYLE}</style></head><body><main>{''.join(sections)}</main></body></html>\n"
    )


def _head(title: str, f: Mapping[str, Any]) -> Iterator[str]:
    data = f["data"]
    of = f"label {data['label']} = {data['positive']}" if "label" in data else f"cut {data['cut']}, horizon {data['horizon']}"
    yield f"<h1>{_e(title)}</h1><p class=sub>{_e(f['algorithm'].replace('_', ' '))} on {_e(_file(data['file']))}, {_e(of)}</p>"
    student = f["student"]
    best = max((one["auc"], name) for name, one in f["baselines"].items() if one["auc"] is not None)
    tiles = [
        (f"{f['auc']:.3f}", f"AUC on unseen rows ({_span(f, 'auc')})"),
        (f"{f['auc'] - best[0]:+.3f}", f"ahead of {best[1].replace('_', ' ')} alone"),
        (f"{f['ece']:.3f}", "calibration error (ECE)"),
        (f"{f['rows']:,}", f"rows measured, {f['positive_rate']:.1%} positive"),
        (f"{student['bytes'] / 1000:.1f} kB", f"on the device, AUC {student['auc']:.3f}"),
    ]
    yield "<div class=tiles>" + "".join(f"<div class=tile><b>{_e(big)}</b><span>{_e(small)}</span></div>" for big, small in tiles)
    yield "</div>"
    yield f"<p class=note>{_e(f['split'][:1].upper() + f['split'][1:])}.</p>"


def _ranking(found: Evaluation, f: Mapping[str, Any]) -> Iterator[str]:
    scores, labels = found.scores, found.scores.labels
    positives, negatives = int(labels.sum()), int((labels == 0).sum())
    roc = Chart(
        (0, 1), (0, 1), "false alarms: share of the others flagged", "share of positives found", title="ROC", percent=True
    )
    recall = Chart((0, 1), (0, 1), "recall: share of positives found", "precision", title="precision and recall", percent=True)
    roc.line([(0, 0), (1, 1)], "ghost")
    recall.line([(0, positives / len(labels)), (1, positives / len(labels))], "ghost", "base rate")
    rivals = [(name, values) for name, values in scores.baselines.items()][:1]
    for kind, name, values in (
        *(("three", name.replace("_", " "), values) for name, values in rivals),
        ("one", "model", scores.server),
    ):
        curve = ranking(values, labels)
        kept = np.unique(np.linspace(0, len(curve.cuts) - 1, CURVE_POINTS).astype(int))
        hits, flagged = curve.hits[kept], curve.flagged[kept]
        points = [(0.0, 0.0), *zip(((flagged - hits) / negatives).tolist(), (hits / positives).tolist(), strict=True)]
        if kind == "one":
            roc.area(points, kind)
        roc.line(points, kind, name)
        recall.line(list(zip((hits / positives).tolist(), (hits / flagged).tolist(), strict=True)), kind, name)
    yield "<h2>Who comes first</h2><p>Rows are ranked by their score. A model is worth having where its curve is clearly over its"
    yield " rival's.</p>"
    yield f"<div class=pair><figure>{roc.svg()}<figcaption>ROC: AUC {f['auc']:.3f} ({_span(f, 'auc')})</figcaption></figure>"
    yield f"<figure>{recall.svg()}<figcaption>Average precision {_n(f['average_precision'])}</figcaption></figure></div>"
    rows = [("the model, server form", f["auc"], _span(f, "auc"), "")]
    rows += [("the model, device form", f["student"]["auc"], _span(f["student"], "auc"), f"{f['student']['auc_loss']:+.4f}")]
    for name, one in f["baselines"].items():
        gain = f"{one['gain']:+.3f} ({one['gain_low']:+.3f} to {one['gain_high']:+.3f})" if one.get("gain") is not None else ""
        rows.append((f"{name.replace('_', ' ')} alone", one["auc"], _span(one, "auc"), gain))
    yield _table(("ranked by", "AUC", "95 %", "the model is ahead by"), [(a, _n(b), c, d) for a, b, c, d in rows])


def _calibration(found: Evaluation, f: Mapping[str, Any]) -> Iterator[str]:
    chart = Chart((0, 1), (0, 1), "mean score", "share that was positive", title="reliability", percent=True)
    chart.line([(0, 0), (1, 1)], "ghost", "score = share")
    bins = f["calibration"]
    chart.whiskers([(one["score"], one["low"], one["high"]) for one in bins], "one")
    chart.line([(one["score"], one["rate"]) for one in bins], "one", "the model")
    chart.dots([(one["score"], one["rate"]) for one in bins], "one")
    scores, labels = found.scores.server, found.scores.labels
    edges = np.linspace(0, 1, 41)
    spread = [np.histogram(scores[labels == side], bins=edges)[0] / max(1, (labels == side).sum()) for side in (0, 1)]
    rows = Chart(
        (0, 1), (0, float(max(map(np.max, spread)))), "score", "share of each label's rows", title="scores", percent=True,
        legend_on_top=True,
    )  # fmt: skip
    for kind, name, shares in (("three", "the others", spread[0]), ("one", "positives", spread[1])):
        steps = [(float(at), float(share)) for k, share in enumerate(shares) for at in edges[k : k + 2]]
        rows.area(steps, kind)
        rows.line(steps, kind, name)
    yield "<h2>Is 70 % seventy percent?</h2><p>Of rows with about the same score, that share should be positive.</p>"
    yield f"<div class=pair><figure>{chart.svg()}<figcaption>Bins of equal size, 95 % intervals</figcaption></figure>"
    yield f"<figure>{rows.svg()}<figcaption>Brier {_n(f['brier'], 4)}; always saying the base rate {_n(f['brier_base_rate'], 4)}"
    yield "</figcaption></figure></div>"


def _thresholds(found: Evaluation, f: Mapping[str, Any], cost: float, value: float) -> Iterator[str]:
    labels, server = found.scores.labels, found.scores.server
    cuts = np.round(np.arange(0.0, 0.96, 0.05), 2)
    table = []
    for cut in cuts:
        flagged = server > cut
        count, hits = int(flagged.sum()), int(labels[flagged].sum())
        table.append((float(cut), count, hits, hits * value - count * cost))
    best = max(table, key=lambda row: row[3])
    chart = Chart(
        (0, 1), (min(0.0, *(row[3] for row in table)), max(row[3] for row in table)), "line: act over this score", "net worth",
        title="net worth by line", width=860, height=240,
    )  # fmt: skip
    chart.line([(0, 0), (1, 0)], "ghost")
    chart.line([(row[0], row[3]) for row in table], "one")
    chart.upright(best[0], "two", f"best at {best[0]:g}")
    yield "<h2>Where to draw the line</h2>"
    yield (
        f"<p>Assumed: acting on one subject costs {cost:g}, and is worth {value:g} where the subject is positive (if the action"
        f" then works; that is what a holdout measures). Change both with <code>--cost</code> and <code>--value</code>.</p>"
    )
    yield f"<figure>{chart.svg()}</figure>"
    rows = [
        (f"{cut:g}", f"{count:,}", _share(hits, count), _share(hits, int(labels.sum())), f"{net:,.0f}")
        for cut, count, hits, net in table
        if count
    ]
    yield _table(("line", "flagged", "precision", "recall", "net worth"), rows, best=f"{best[0]:g}")
    yield f"<p class=note>With the confidence gate (over {f['confidence_min']}) a decision also needs to be sure of its line:</p>"
    rows = [
        (f"{one['line']:g}", f"{one['score']['flagged']:,}", f"{one['score_and_confidence']['flagged']:,}",
         _n(one["score_and_confidence"]["precision"]), _n(one["score_and_confidence"]["recall"]))
        for one in f["lines"]
    ]  # fmt: skip
    yield _table(("line", "over the line", "and sure", "precision", "recall"), rows)


def _effects(found: Sequence[Effect]) -> Iterator[str]:
    if not found:
        return
    yield (
        "<h2>What moves the score</h2><p>Inputs by the AUC that is lost when their values are shuffled, and how the mean score"
        " follows each. This describes the model, not causes."
        " A column of texts is shown by the share of positives among the training rows of each text.</p>"
    )
    yield _table(("input", "AUC lost when shuffled"), [(one.name, f"{one.auc_drop:.4f}") for one in found])
    means = [mean for one in found for _, mean in one.points]
    low, high = min(means), max(means)
    reach = max(0.02, 0.08 * (high - low))
    yield "<div class='pair small'>"
    for one in found:
        values = [value for value, _ in one.points]
        if len(values) < 2:
            continue
        chart = Chart(
            (values[0], values[-1]), (max(0, low - reach), min(1, high + reach)), one.name, "mean score", title=one.name,
            width=300, height=210,
        )  # fmt: skip
        chart.line(one.points, "one")
        chart.dots(one.points, "one", radius=2)
        yield f"<figure>{chart.svg()}</figure>"
    yield "</div>"


def _quantized(found: Evaluation, f: Mapping[str, Any]) -> Iterator[str]:
    scores, s = found.scores, f["student"]
    picked = np.random.default_rng(0).permutation(len(scores.server))[:SCATTER_POINTS]
    pairs = Chart((0, 1), (0, 1), "server form", "device form", title="the two forms", percent=True)
    pairs.line([(0, 0), (1, 1)], "ghost")
    pairs.dots(list(zip(scores.server[picked].tolist(), scores.device[picked].tolist(), strict=True)), "faint", radius=1.8)
    gaps = scores.device - scores.server
    reach = max(0.01, float(np.quantile(np.abs(gaps), 0.999)))
    counts, edges = np.histogram(np.clip(gaps, -reach, reach), bins=41, range=(-reach, reach))
    spread = Chart((-reach, reach), (0, float(counts.max())), "device minus server score", "rows", title="gaps")
    spread.bars(zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True), "one")
    lost = f"{s['auc_loss']:+.4f} AUC ({s['auc_loss_low']:+.4f} to {s['auc_loss_high']:+.4f})"
    yield (
        f"<h2>What the device gives up</h2><p>The device runs {RUNS[s['form']]}, {s['bytes']:,} bytes"
        f" with all its tables (server form {s['server_bytes']:,}), {s['p50_us']} µs a score (99th percentile {s['p99_us']}) on"
        f" the machine that made this page. It costs {lost}.</p>"
    )
    yield f"<div class=pair><figure>{pairs.svg()}<figcaption>{len(picked):,} rows by both forms</figcaption></figure>"
    yield f"<figure>{spread.svg()}<figcaption>Half of the gaps are under {s['score_gap_p50']:.4f}, all but one in a thousand"
    yield f" under {s['score_gap_p999']:.3f}</figcaption></figure></div>"
    rows = []
    for one in f["lines"]:
        of = one["student"]
        rows.append((
            f"{one['line']:g}", f"{of['agreement']:.2%}", f"{of['flips']:,}", f"{of['flips_near']:,} of {of['rows_near']:,}",
            _n(of["jaccard"]), f"{of['decision_flips']:,}",
        ))  # fmt: skip
    yield _table(("line", "same side", "flips", "of rows within 0.1", "Jaccard of flagged", "decisions that flip"), rows)


def _card(f: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        (name.replace("_", " "), ", ".join(map(str, held)) if isinstance(held, list) else str(held))
        for name, held in f["data"].items()
    ]
    rows = [(name, _file(held) if name == "file" else held) for name, held in rows if held]
    rows += [
        ("rows measured", f"{f['rows']:,}, {f['positives']:,} positive"),
        ("rows trained on", f"{f['rows_trained']:,} in the last part"),
        ("parts", f["split"]),
        ("inputs", ", ".join(f["inputs"])),
        (
            "algorithm",
            f"{f['algorithm'].replace('_', ' ')}: " + ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in f["settings"].items()),
        ),
        ("rare labels", "not re-weighted; scores are calibrated on rows held back from training"),
        ("intervals", f["interval"]),
        (
            "made by",
            f"reflexarc {reflexarc.__version__}, {datetime.date.today().isoformat()},"
            f" {f['seconds']:.0f} s, {f['peak_mb']:.0f} MB",
        ),
    ]
    yield "<h2>Data card</h2><div class=scroll><table>"
    yield "".join(f"<tr><td>{_e(name)}</td><td class=text>{_e(held)}</td></tr>" for name, held in rows)
    yield "</table></div>"
    if f["warnings"]:
        yield "<p class=note>To look at:</p><ul class=note>" + "".join(f"<li>{_e(text)}</li>" for text in f["warnings"]) + "</ul>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], best: str = "") -> str:
    top = "".join(f"<th>{_e(name)}</th>" for name in head)
    body = "".join(
        f"<tr{' class=best' if best and row[0] == best else ''}>" + "".join(f"<td>{_e(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<div class=scroll><table><tr>{top}</tr>{body}</table></div>"


def _file(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _span(of: Mapping[str, Any], name: str) -> str:
    low, high = of.get(f"{name}_low"), of.get(f"{name}_high")
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _n(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _e(text: str) -> str:
    return html.escape(str(text))
