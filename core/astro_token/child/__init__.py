"""Run the command: spawn, signals, hardening."""
