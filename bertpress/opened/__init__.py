"""Finished models: opened at one of their speeds, given further ones, looked at."""
