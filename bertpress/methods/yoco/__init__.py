"""YOCO-BERT: one elastic super-network, then any of its sub-networks."""
