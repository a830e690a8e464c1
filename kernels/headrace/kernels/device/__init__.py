"""Triton kernels that the operations share, and their host side. Importing any module here imports
Triton; `docs/kernels.md` names the kernels."""
