"""What a model costs: parameters and multiply-adds in closed form, and times."""
