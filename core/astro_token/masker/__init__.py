"""Replace a secret by `***` in the output of a child process, in any encoding."""
