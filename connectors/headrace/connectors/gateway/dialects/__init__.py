"""The APIs that the gateway speaks, one module each: requests read, answers and errors written."""
