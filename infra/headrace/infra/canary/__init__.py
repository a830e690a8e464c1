"""Judges new versions of a policy on a share of the traffic: promoted, or rolled back."""
