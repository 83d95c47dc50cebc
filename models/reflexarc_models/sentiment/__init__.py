"""Sentiment of a short text: negative, neutral or positive, with calibrated probabilities, offline.

`Sentiment.load(folder)` gives a model that is called with a text. Importing this package loads the standard library only.
"""

from reflexarc_models.sentiment.model import CLASSES, Reading, Sentiment

__all__ = ["CLASSES", "Reading", "Sentiment"]
