"""How the token is to be handed over here: decided from the environment alone, before anything is read."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import join, quote
from typing import TYPE_CHECKING

from astro_token import formats
from astro_token.ci.system import SYSTEMS, ci_systems, in_ci
from astro_token.environment.export import TOKEN_VARIABLE
from astro_token.errors import OutputError
from astro_token.formats.delivery import refuse_place
from astro_token.formats.rendering import Rendering, Variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.ci.system import System

PLACEHOLDER = "placeholder"  # where a value is needed and is not read


@dataclass(frozen=True, slots=True)
class Handover:
    """
    Attributes:
        asked: a format's name, or auto.
        environ: what is decided by.
        call: the command line that was given, for the words that go with a rendering.
        file: of `--output`, or None.
        terminal: standard error is one.
        systems: the CI systems that the environment shows; the first is the one that it is for.
    """

    asked: str
    environ: Mapping[str, str]
    terminal: bool
    systems: tuple[System, ...]
    call: str = "astro-token export"
    file: str | None = None

    @classmethod
    def here(
        cls,
        asked: str,
        environ: Mapping[str, str],
        *,
        terminal: bool,
        token: str | None = None,
        file: str | None = None,
    ) -> Handover:
        """
        Args:
            token: as it was given; it is shown, so it has to be known for a reference or a name.
        """
        home = formats.OF_SYSTEM.get(asked)
        # Who names a system's own format says by it which of several it is.
        found = sorted(ci_systems(environ), key=lambda system: home not in {None, system.key})
        words = ["astro-token", "export"]
        words += [] if asked == "auto" else ["--format", asked]
        words += [token] if token else []
        return cls(asked, environ, terminal, tuple(found), join(words), quote(file) if file else None)

    @property
    def system(self) -> System | None:
        return next(iter(self.systems), None)

    @property
    def watched(self) -> bool:
        """A person reads what is written to standard error, and no CI system."""
        return self.terminal and not (self.system and self.system.terminal)

    @property
    def format(self) -> str:
        if self.asked != "auto":
            return self.asked
        return self.system.format if self.system else "posix"

    @property
    def log(self) -> str | None:
        """Whose way of hiding a value the log has, as far as can be seen; or None."""
        if self.system is None or self.system.log is None or self.watched:
            return None
        # A format of the system's own is refused where its place is not there.
        there = self.format in formats.OF_SYSTEM or _is_there(self.system, self.environ)
        return self.system.log if there else None

    def trial(self) -> Rendering:
        """
        The rendering of a text that is no secret.

        Raises:
            OutputError: there is no place for any, or none that can be trusted.
        """
        home = formats.OF_SYSTEM.get(self.format)
        if home and (self.system is None or self.system.key != home or self.watched):
            # It would show the token where nothing takes it out.
            name = next(system.name for system in reversed(SYSTEMS) if system.key == home)
            raise OutputError(
                f"the {self.format} format is for a job of {name}, and this is none",
                hint="use exec, or --format posix in a shell",
            )
        variables = Variables(
            {TOKEN_VARIABLE: PLACEHOLDER},
            environ=self.environ,
            log=self.log,
            call=self.call,
            file=self.file,
        )
        rendering = formats.render(self.format, variables)
        for each in (rendering.masks, rendering):
            if each is not None:
                refuse_place(each, self.environ)
        return rendering

    def words(self) -> list[str]:
        """What people are to be told beside the result."""
        if self.system is None:
            unknown = (
                "this CI system is not known here: the output is for a POSIX shell, and the log hides nothing"
            )
            return [unknown] if self.asked == "auto" and in_ci(self.environ) else []
        words = []
        if others := ", ".join(system.name for system in self.systems[1:]):
            words.append(f"this looks like {others} too; taken for {self.system.name}")
        if not self.watched and self.log is None and self.format != "teamcity":
            words.append(f"the log of {self.system.name} does not hide the token: see that nothing prints it")
        return words


def _is_there(system: System, environ: Mapping[str, str]) -> bool:
    """
    False where what the system sets is not set, or leads nowhere.

    Then another one may read the log, and would show the commands with the value in them.
    """
    try:
        if system.key == "github":
            from astro_token.formats.github import runners_file

            refuse_place(Rendering("", runners_file("GITHUB_ENV", environ)), environ)
        if system.key == "buildkite":
            refuse_place(formats.masks("buildkite", (PLACEHOLDER,)), environ)
            return bool(environ.get("BUILDKITE_AGENT_JOB_API_SOCKET"))
    except (OutputError, OSError):
        return False
    return True
