"""Training: labelled rows in, artifacts out. Needs the extra [train]; no device or scorer imports it."""
