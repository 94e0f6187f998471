"""Training and scoring: the Trainer, what it trains, how a step is resumed."""
