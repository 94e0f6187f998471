"""Carrying out a recipe: plan, steps, and what a finished one leaves behind."""
