"""Requests: route, deadline, bounded response, failure."""
