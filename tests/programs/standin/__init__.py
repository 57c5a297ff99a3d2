"""
A stand-in for the Astro CLI 1.45.0 with the telemetry of 1.46: what that program does with its token,
and little else.

    version                                     workspace list
    auth token                                  organization list
    context list                                deployment list [--all] [--workspace-id ID]
    config get|set [-g] KEY [VALUE]              deployment inspect [ID] --key KEY [--clean-output]
    dev start [--workspace-id ID] [--deployment-id ID] [--standalone]
    deploy [ID] [--dags] [--force] [--workspace-id ID] [--deployment-name NAME]

It reads and writes `config.yaml`, talks to the API and fails as the real one does:
standard output, the first lines of standard error, the exit status and the requests are the same.
`test_real_astro.py` compares the two wherever a real one is at hand.
What is known only by inference says so where it stands.

It differs on purpose:

- It never leaves the machine: to it a name that is not loopback does not resolve.
  With STANDIN_API_URL that address answers in place of `https://api.<domain>`.
- No version check, no login in a browser, no container, no image:
  what it leaves out of a command it says on standard error after `stand-in:`.
- The telemetry's process waits for its parent to end, and for the home to be removed (`telemetry`).
- No redirect is followed, no proxy is used, a deploy carries no git metadata, and some tables are narrower.
- Without --dags the real one logs in to a registry through bash when its first way to push fails.
  With STANDIN_REGISTRY_LOGIN=1 a like line is run, so that a test can find the token on a command line.
- What it cannot do ends with 3, a status the real one does not use.

`second` is the stand-in for a pre-release of 2.0, with the same differences.

Standard library only: it runs with any Python from 3.11 on, apart from the tests' environment.
"""

VERSION = "1.45.0"
SECOND_VERSION = "2.0.0-beta.1"
