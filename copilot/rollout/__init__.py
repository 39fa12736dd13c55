"""The episode engine: policies and environments, turn by turn, many at once, token-exact."""
