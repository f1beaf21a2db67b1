"""Who writes the harmful text: rules offline, or a language model."""
