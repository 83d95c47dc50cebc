"""The meaning of the product: events, features, conditions, triggers, decisions and the engine.

No I/O, no clock, no randomness; the standard library only (google-re2 is loaded by the first pattern).
"""
