"""
Install a verified release of the Astro CLI for the user.

    version ──> checksum file ──> archive ──> program
    requested,  one digest per    from the    its member `astro`,
    pinned, or  platform          cache, or   replaces the old one
    the latest                    fetched     completely or not at all

An archive is trusted only by its SHA-256:
the one in the release's checksum file, and the one that the project pins.
"""
