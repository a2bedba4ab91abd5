"""From vectors to codes: clustering, assignment, unique tuples."""
