"""The exercises of lecture note 004 and its comparison of batches, as experiments: ``scripts/homework``.

They use xpnet as anyone would, through `xpnet.Trainer`. `docs/homework.md` and `docs/stochastic.md` show
what comes out; the tests run the same experiments.
"""
