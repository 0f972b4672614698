"""The node agent: reads the kernel's records, joins them to process, container and request, writes the trail."""
