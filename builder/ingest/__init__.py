"""From corpora to clean records: tables of any kind, and drawn phantoms."""
