"""What the sources of the EHRSQL family share: gold SQL, re-grounding of its values, typed answers."""
