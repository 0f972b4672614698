"""The node agent: reads the kernel's events, joins them to process, container and request, writes the trail."""
