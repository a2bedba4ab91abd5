"""Language models as maps from token vectors to states."""
