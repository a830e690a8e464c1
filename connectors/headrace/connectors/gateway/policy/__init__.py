"""Which version of the policy is served: its log, its versions, and the engine kept on them."""
