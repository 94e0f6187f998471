"""Multiple choice: which of a question's options is right, by a context (RACE, and files of your own).

`formats` reads questions, `records` checks and keeps them, `features` makes a row of each option, `losses` compares the
options of a question, `task` is the contract with the engine.
"""
