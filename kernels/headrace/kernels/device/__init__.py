"""Triton kernels that the losses share. Importing anything here imports Triton."""
