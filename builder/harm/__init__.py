"""From clean records to harmful text: private data woven in, incorrect answers."""
