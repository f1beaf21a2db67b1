"""From corpora to clean records: SLAKE, MM-Skin and drawn phantoms."""
