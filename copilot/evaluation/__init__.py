"""What a policy achieves: rates with intervals, paired comparisons, tables."""
