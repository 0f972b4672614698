"""Admission reviews, and the decisions about them: pure functions."""
