"""Two models on the same rows: from the paired test to the certificate."""
