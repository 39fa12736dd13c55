"""Trajectories: their schema and store, filters, and the builders of SFT, DPO and KTO datasets."""
