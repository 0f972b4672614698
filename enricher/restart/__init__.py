"""Over a restart: what an enricher knew is kept, and taken up by the next one; what neither saw becomes a gap."""
