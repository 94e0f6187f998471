"""The command line but for `cli`: each command calls one function; nothing is computed here."""
