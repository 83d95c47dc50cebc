"""`reflexarc simulate`: what a catalog would have decided over a log, beside what another one would have."""
