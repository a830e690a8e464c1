"""The APIs that the gateway speaks, one module each: requests read, answers and errors written.

Knows neither the state of the gateway nor its backends; `endpoints` answers.
"""
