"""The dataset folder: rows, provenance, card and manifest, written and read again."""
