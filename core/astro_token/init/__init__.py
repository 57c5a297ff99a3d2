"""
`init`: the files with which a repository's CI jobs get their tokens, and nobody else's do.

The templates are the examples of `examples/ci/`, which `make examples` writes with the values of an example.
"""
