"""The author's room: YAML in, a built and checked catalog out. Needs the extra [build]; never imported on a device."""
