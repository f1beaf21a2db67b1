"""Publishing a built folder on the Hugging Face Hub: audit first, then one commit."""
