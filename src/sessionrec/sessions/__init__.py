"""Events become sessions: the rule, the filters, the split; from a `Log` to `Histories`."""
