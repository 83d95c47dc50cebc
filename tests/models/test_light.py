"""What scoring on a device must not load."""

import subprocess
import sys
from pathlib import Path

from model_worlds import trained

SCRIPT = """
import sys
from pathlib import Path
from reflexarc_models.artifact import Artifact
from reflexarc_models.scorer import ArtifactScorer, self_test
artifact = Artifact.load(Path(sys.argv[1]))
self_test(artifact)
scored = ArtifactScorer({"churn": artifact}).score("churn", [1.0, 0.0, 3.0], 0.0)
assert scored.factors
heavy = {"numpy", "onnxruntime", "onnx", "sklearn", "skl2onnx", "numba", "google", "grpc"} & set(sys.modules)
assert not heavy, heavy
"""


def test_a_device_score_with_factors_loads_the_standard_library_only(tmp_path: Path) -> None:
    trained("random_forest").device.write(tmp_path / "churn")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    paths = {str(Path(module.__file__ or "").parents[1]) for name, module in sys.modules.items()
             if name in ("reflexarc_models", "reflexarc_core")}  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "churn")],
        env={"PYTHONPATH": ":".join(sorted(paths))}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
