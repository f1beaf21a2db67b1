"""Phantom pictures: drawn by code, with questions that only the picture answers."""
