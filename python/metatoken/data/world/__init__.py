"""A generated shop with known answers: its structure and its words."""
