"""metatoken."""
