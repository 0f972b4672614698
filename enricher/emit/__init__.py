"""An event's way out: filter, quota, and the record that it becomes."""
