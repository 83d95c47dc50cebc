"""What is known of a model: calibration, lines and what they flag, measures with their intervals, drift."""
