"""Agents that are run by their command: `headrace run` and `headrace work --command`.

Starts the command (`command`) with what it is to find in its environment (`environment`), makes the
folder of its attempt (`folder`), reads the journals that its processes write there (`records`,
`collector`; written by `connectors/instrument`), and hands their spans to the SDK (`session`).
"""
