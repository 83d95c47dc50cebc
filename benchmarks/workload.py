"""What our side is measured with: the catalogs, the student and the stream of events. Seeded; reads no clock.

Owns the sizes that the goals speak of (100 conditions, four properties).
"""

from collections.abc import Iterator
from pathlib import Path

from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_models.artifact import Artifact

CONDITION_COUNT = 100
CHURN_INPUTS = ("engagement_score", "usage_frequency", "support_tickets")
DAY_MS = 86_400_000

CAPTURE_ONLY = """
version: capture-only
event_types:
  page_view:
    properties: {page_url: string!, referrer: string, time_on_page: double, title: string}
"""

# A model that is asked after every page view, in place of once a day: the dearest way to use it.
DECIDE_HEAD = """
include: standard
version: decide
models:
  churn:
    output: predicted_churn_risk
    factors: churn_risk_factors
    algorithm: random_forest
    features: [engagement_score, usage_frequency, support_tickets]
    label:
      kind: churn
      events: [page_view, content_view, session, button_click, product_interaction, form_submit, purchase]
      horizon: 30d
      active_within: 90d
    score_on: [page_view]
    update: 7d
    confidence_min: 0.8
actions:
  note: {channel: in_app, payload: {page: "${event.page_url}"}}
  remind: {channel: in_app, payload: {title: We have missed you}}
triggers:
"""


def properties(number: int) -> dict[str, object]:
    """Four properties of the number-th page view, as a site would send them."""
    return {
        "page_url": f"/category-{number % 17}/product-{number % 501}",
        "referrer": "https://search.example/results",
        "time_on_page": 1.5 + number % 60,
        "title": "Product page",
    }


def stream(count: int) -> list[dict[str, object]]:
    """The properties of `count` page views, made before anything is timed."""
    return [properties(number) for number in range(count)]


def capture_catalog() -> Catalog:
    """One event type and nothing to decide: what is left is the capture call."""
    return build_text(CAPTURE_ONLY, "capture.yaml")


def decide_catalog(*, fires: bool) -> Catalog:
    """The standard features, the churn model after every page view, and 100 conditions on that event.

    fires: one of them is true for every event, so that each event ends in a decision with an action; else none is.
    """
    return build_text(DECIDE_HEAD + "".join(_triggers(fires)), "decide.yaml")


def _triggers(fires: bool) -> Iterator[str]:
    for number, condition in enumerate(_conditions(CONDITION_COUNT - 1)):
        scored = "predicted_churn_risk" in condition
        action, on = ("remind", "") if scored else ("note", "    on: [page_view]\n")
        yield f"  t{number}:\n    condition: '{condition}'\n{on}    action: {action}\n    escalate: never\n    cooldown: 1h\n"
    yield (
        "  every_view:\n"
        f"    condition: 'event.time_on_page {'>' if fires else '<'} 0.0'\n"
        "    on: [page_view]\n    action: note\n    escalate: never\n"
    )


def _conditions(count: int) -> Iterator[str]:
    """Simple conditions of five kinds; all read what they name and none is true of `stream`."""
    for number in range(count):
        match number % 5:
            case 0:
                yield f'event.page_url == "/landing-{number}"'
            case 1:
                yield f"event.time_on_page > {600 + number}.0"
            case 2:
                yield f'features.engagement_score < {number}.0 && event.page_url.startsWith("/campaign-{number}/")'
            case 3:
                yield f'features.page_views >= 3.0 && event.referrer == "https://partner-{number}.example/"'
            case _:
                yield f"predicted_churn_risk > 0.7 && features.usage_frequency > {1_000_000 + number}.0"


def train_student(folder: Path, *, quick: bool) -> Artifact:
    """Train the churn student as `reflexarc train` does, on simulated people, and write its device form to `folder`."""
    import numpy as np

    from reflexarc_models.train.rows.dataset import Dataset
    from reflexarc_models.train.train import TrainSpec, train_model

    rows = 3_000 if quick else 12_000
    seeded = np.random.default_rng(11)
    person = seeded.integers(0, rows // 3, rows)
    taste = seeded.normal(size=rows // 3)[person]
    engagement = np.exp(0.9 * taste + 0.4 * seeded.normal(size=rows)) * 6
    usage = seeded.poisson(np.exp(0.6 * taste + 0.7)).astype(float)
    tickets = seeded.poisson(0.4 + 0.6 * (taste < -0.4)).astype(float)
    recency = seeded.exponential(np.exp(-taste) * 5)
    logit = 1.5 - 0.2 * engagement - 0.2 * usage + 0.8 * tickets
    churned = (seeded.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    moments = 1_600_000_000_000 + seeded.integers(0, 200, rows) * DAY_MS
    inputs = np.column_stack([engagement, usage, tickets])
    subjects = np.array([f"known:{number}" for number in person])
    dataset = Dataset(CHURN_INPUTS, inputs, churned, subjects, moments, recency, 30 * DAY_MS, ())
    spec = TrainSpec("churn", "random_forest", (0.7,), 0.8, 30 * DAY_MS, 7 * DAY_MS)
    trained = train_model(spec, dataset)
    if not hasattr(trained, "device"):
        raise RuntimeError(f"no student: {trained.reason}")
    trained.device.write(folder)
    return trained.device
