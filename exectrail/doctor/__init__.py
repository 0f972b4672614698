"""Whether a cluster is covered: looks at what the API server has of it, and decides what is amiss.

`cluster` looks. A module for each area decides, without input or output, and `diagnosis` has them all. `bundle`
collects what a support case needs.
"""
