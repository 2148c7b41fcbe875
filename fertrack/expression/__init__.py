"""From logits to labels: calibration, smoothing, reliability."""
