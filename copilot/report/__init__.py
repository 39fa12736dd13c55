"""A run as one HTML page: tables, plots, sample trajectories."""
