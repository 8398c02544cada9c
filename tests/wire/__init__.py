"""What the wire formats say. The bodies are hand-written after each provider's documentation; none is a recording."""
