"""Offline training: SFT, DPO and KTO on token-exact rows, through TRL."""
