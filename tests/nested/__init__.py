"""A node that is a container of the machine, as kind's: a command that brings a node up, in namespaces of its own."""
