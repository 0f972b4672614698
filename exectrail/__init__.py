"""What all parts of exectrail share: the record, the session, and everything that reads a trail.

The only package of the PyPI distribution. It imports nothing of the other parts.
"""

__version__ = "0.1.0"
