"""Policy of a team for its tokens: rules, verdicts, and every code with its level and exit status."""
