"""From walks to vectors of users and items."""
