"""A device from nothing to its first decision: `python -m benchmarks.start_child '{"folder": ..., ...}'`.

Owns the stamps. The clock started in the parent, before the process did.
"""

import json
import os
import sys
from pathlib import Path

from benchmarks.child import since_start_ms


def main() -> None:
    """Import, open the store, track one event, and tell when each was done."""
    began_ms = since_start_ms()
    from reflexarc import Client

    imported_ms = since_start_ms()
    given = json.loads(sys.argv[1])
    from reflexarc_core.model import LiveModel
    from reflexarc_models.artifact import Artifact
    from reflexarc_models.scorer import ArtifactScorer

    artifact = Artifact.load(Path(given["student"]))
    scorer = ArtifactScorer({"churn": artifact}, "built-in")
    models = {"churn": LiveModel(artifact.digest, artifact.inputs, given["now"])}
    client = Client(Path(given["folder"]), catalog=Path(given["catalog"]), scorer=scorer, models=models)
    opened_ms = since_start_ms()
    event = {"page_url": "/", "referrer": "", "time_on_page": 2.0, "title": "Home"}
    receipt = client.track("page_view", event)
    decided_ms = since_start_ms()
    from benchmarks.machine import rss_bytes

    found = {
        "began_ms": began_ms,
        "imported_ms": imported_ms,
        "opened_ms": opened_ms,
        "decided_ms": decided_ms,
        "accepted": receipt.accepted,
        "decisions": len(receipt.decisions),
        "rss_bytes": rss_bytes(),
        "loaded": sorted({"grpc", "google", "numpy", "onnxruntime", "sklearn"} & set(sys.modules)),
    }
    for number in range(given["more"]):
        client.track("page_view", {**event, "page_url": f"/{number}"})
    client.close()
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
