"""
Installing the Astro CLI: a release of it, verified, as a program of the user's.

    version ──> checksum file ──> archive ──> program
    asked for,  one digest for    from the    its one member `astro`,
    locked, or  each platform     cache, or   in the place of the old one
    the latest                    fetched     or not at all

An archive is believed by its SHA-256 only:
that of the release's checksum file, and that of the project's lock.
"""
