"""Fictional patients, and what tells their data from that of real people."""
