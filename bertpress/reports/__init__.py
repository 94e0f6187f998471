"""The report: what the folders of runs hold, its content, then its forms."""
