"""
POSIX shells: `out="$(astro-token export --format posix)" && eval "$out"`.

Always in single quotes: `shlex.quote` leaves a bare `=word`, which zsh expands.
GitLab CI, Bitbucket Pipelines and AWS CodeBuild have no better place than the shell
that runs all lines of a script, so theirs is this form too.
"""

from __future__ import annotations

from dataclasses import replace

from astro_token.formats import carry
from astro_token.formats.rendering import Rendering, Variables


def render(variables: Variables) -> Rendering:
    line = f'evaluate it: out="$({variables.call})" && eval "$out"'
    return Rendering(assignments(variables), then=f"read it: . {variables.file}" if variables.file else line)


def gitlab(variables: Variables) -> Rendering:
    return _lasting(variables, "it lasts through before_script and script of this job")


def bitbucket(variables: Variables) -> Rendering:
    return _lasting(variables, "it lasts to the end of this step's script")


def codebuild(variables: Variables) -> Rendering:
    return _lasting(variables, "it lasts through all phases where the buildspec says `version: 0.2`")


def assignments(variables: Variables) -> str:
    lines = [f"unset {name}\n" for name in variables.unset]
    lines += [
        f"export {name}={_quoted(carry('a shell', text))}\n" for name, text in variables.assigned.items()
    ]
    return "".join(lines)


def _lasting(variables: Variables, how_long: str) -> Rendering:
    rendering = render(variables)
    return replace(rendering, then=f"{rendering.then}; {how_long}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
