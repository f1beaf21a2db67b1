"""A client for OpenAI-compatible servers that asks nothing twice."""
