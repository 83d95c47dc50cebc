"""Our whole decision in a process of its own: event in, decision out, durable. Answers with one JSON object.

Owns the proof that the work was done: every event scored, every event decided (where a trigger fires for all).
"""

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.capture_child import WARM_UP_COUNT, timed
from benchmarks.workload import stream


def main() -> None:
    """Track the events that were asked for; print latencies and what was decided."""
    from reflexarc import Client
    from reflexarc_core.model import LiveModel
    from reflexarc_models.artifact import Artifact
    from reflexarc_models.scorer import ArtifactScorer

    given = json.loads(sys.argv[1])
    artifact = Artifact.load(Path(given["student"]))
    scorer = _CountingScorer(ArtifactScorer({"churn": artifact}, "built-in"))
    # A label that matured just now: the age of simulated people's labels is not what is measured.
    models = {"churn": LiveModel(artifact.digest, artifact.inputs, int(time.time() * 1000))}
    handled: list[str] = []
    client = Client(Path(given["folder"]), catalog=Path(given["catalog"]), scorer=scorer, models=models)
    if given["handler"]:
        client.on("every_view", lambda decision: handled.append(decision.decision_id))
    moment = client.moment()
    client.runtime.values(client.subject, moment.now, {"support_tickets": 1.0, "email_engagement": 2.0}, moment)
    decided: list[int] = []

    def call(number: int, properties: object) -> bool:
        receipt = client.track("page_view", properties)  # type: ignore[arg-type]
        decided.append(len(receipt.decisions))
        return receipt.accepted

    timed(call, stream(WARM_UP_COUNT), 0)
    scorer.count = 0
    decided.clear()
    events = stream(given["n"])
    gc.collect()
    start = time.perf_counter()
    taken_ns, refused = timed(call, events, WARM_UP_COUNT)
    seconds = time.perf_counter() - start
    client.settle()
    found = {
        "ns": taken_ns,
        "rate": len(events) / seconds,
        "refused": refused,
        "scored": scorer.count,
        "decided": sum(1 for count in decided if count),
        "decisions": client.stats()["decisions"],
        "handled": len(handled),
    }
    client.close()
    print(json.dumps(found), flush=True)
    os._exit(0)


class _CountingScorer:
    """The real scorer, counted: a benchmark in which nothing was scored would be fast."""

    def __init__(self, scorer: Any) -> None:
        self._score = scorer.score
        self.inputs = scorer.inputs
        self.count = 0

    def score(self, model_id: str, vector: Any, factors_above: float | None) -> Any:
        self.count += 1
        return self._score(model_id, vector, factors_above)


if __name__ == "__main__":
    main()
