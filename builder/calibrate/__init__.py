"""Self-calibration: keep the harmful texts that a model can really learn."""
