"""Finding entities by a tag for each word, and what every task on entities shares: records, schemes, word pieces."""
