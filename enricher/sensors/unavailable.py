"""Why a sensor cannot be had on this node."""


class SensorUnavailable(Exception):
    """This node does not let the sensor work; the message is the reason, for the log and for NodeTrail's status."""
