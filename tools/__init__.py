"""What `./dev` is made of; no part of the addon itself.

`environment/` makes what the addon runs in, `proofs/` proves that it does what it says; `cli.py` finds the command.
"""
