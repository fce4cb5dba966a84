"""The load generator: schedules, workloads, the sender in a process of its own, raw records, metrics and gates."""
