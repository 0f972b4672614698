"""Filters: which records a trail keeps."""
