"""Choosing among candidates: which of a question's candidates its documents speak for.

A record is a query with candidates and supporting documents, as WikiHop has them; `records` reads and checks them,
`features` makes inputs of tokens, `losses` compares candidates, `task` is what methods train and measure.
"""
