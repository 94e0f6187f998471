"""What a finished model is measured by."""
