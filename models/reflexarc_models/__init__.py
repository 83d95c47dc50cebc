"""Models as artifacts: what a device or a server needs to load, test, score and explain one.

Importing this package loads the standard library only; numpy and onnxruntime are loaded by the first score of
an artifact that needs them. Training lives in `reflexarc_models.train` and is never imported from here.
"""
