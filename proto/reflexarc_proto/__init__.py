"""The wire contract (`v1`) and its only translator to the core's values (`wire`)."""
