"""From interactions to walks over the user-item graph."""
