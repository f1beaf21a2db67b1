"""The audit: everything that must hold of a published folder, each check named with its count."""
