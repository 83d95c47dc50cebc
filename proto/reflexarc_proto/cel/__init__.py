"""The own description of a checked CEL expression, and what is generated from it."""
