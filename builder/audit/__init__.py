"""The audit: everything that must hold of a published folder, looked at in the folder itself.

It reads nothing else (no work folder, no sources), so that anybody who has the dataset can run it:
the builder before publishing, a data protection officer, a reviewer.
"""

from builder.audit.run_checks import Check, failing, run

__all__ = ["Check", "failing", "run"]
