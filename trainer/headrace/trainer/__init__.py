"""The trainer: credited samples in, policy versions out.

Import its modules by name (`headrace.trainer.batch`, …): `policy` and `step` load torch and
transformers, which not every user of the package needs.
"""
