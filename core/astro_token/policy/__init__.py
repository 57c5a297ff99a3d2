"""Rules of a team for its tokens, and verdicts on them."""
