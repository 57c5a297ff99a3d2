"""The format and destination of `export`: decided from the environment alone, before anything is read."""

from __future__ import annotations

from shlex import join, quote
from typing import TYPE_CHECKING

from astro_token.ci import ci_systems, in_ci
from astro_token.ci.formats import all_formats, home_system, render
from astro_token.environment.export import TOKEN_VARIABLE
from astro_token.errors import OutputError
from astro_token.formats.delivery import refuse_destination
from astro_token.formats.rendering import Rendering, Variables
from astro_token.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.ci.system import CISystem
    from astro_token.formats import ExportFormat

__all__ = ["ExportPlan", "plan_export"]

_PLACEHOLDER = "placeholder"  # the value of a dry run


class ExportPlan(Record):
    """
    Attributes:
        requested: a format's name, or auto.
        environ: the environment that decides.
        terminal: standard error is a terminal.
        systems: the CI systems that the environment shows; the plan is for the first.
        call: the command line, for `Rendering.then`.
        file: the argument of `--output`, quoted, or None.
    """

    requested: str
    environ: Mapping[str, str]
    terminal: bool
    systems: tuple[CISystem, ...]
    call: str = "astro-token export"
    file: str | None = None

    @property
    def system(self) -> CISystem | None:
        return next(iter(self.systems), None)

    @property
    def interactive(self) -> bool:
        """True if a person reads standard error, and no CI system."""
        return self.terminal and not (self.system and self.system.terminal)

    @property
    def format_name(self) -> str:
        if self.requested != "auto":
            return self.requested
        return self.system.format if self.system else "posix"

    @property
    def format(self) -> ExportFormat:
        return all_formats()[self.format_name]

    @property
    def log(self) -> str | None:
        """The key of the system whose log can be told what to hide, or None."""
        system = self.system
        if system is None or system.masks is None or self.interactive:
            return None
        # A system's own format is refused anyway without its file or program.
        if not self.format.exclusive and system.refuse_log is not None:
            try:
                system.refuse_log(self.environ)
            except (OutputError, OSError):
                return None
        return system.key

    def dry_run(self) -> Rendering:
        """
        Render a text that is not secret.

        Raises:
            OutputError: there is no destination, or none that can be trusted.
        """
        home = home_system(self.format_name)
        if home and (self.system is None or self.system.key != home.key or self.interactive):
            # It would show the token where nothing removes it.
            raise OutputError(
                f"the {self.format_name} format is for a job of {home.name}, and this is none",
                hint="use exec, or --format posix in a shell",
            )
        variables = Variables(
            {TOKEN_VARIABLE: _PLACEHOLDER},
            environ=self.environ,
            log=self.log,
            call=self.call,
            file=self.file,
        )
        rendering = render(self.format_name, variables)
        for each in (rendering.masks, rendering):
            if each is not None:
                refuse_destination(each, self.environ)
        return rendering

    def notices(self) -> list[str]:
        """Messages for people beside the result."""
        if self.system is None:
            unknown = "unknown CI system: the output is for a POSIX shell, and the log hides nothing"
            return [unknown] if self.requested == "auto" and in_ci(self.environ) else []
        notices = []
        if others := ", ".join(system.name for system in self.systems[1:]):
            notices.append(f"the environment also shows {others}; this export is for {self.system.name}")
        if not self.interactive and self.log is None and not self.format.self_masking:
            notices.append(
                f"the log of {self.system.name} does not hide the token: see that nothing prints it"
            )
        return notices


def plan_export(
    requested: str,
    environ: Mapping[str, str],
    *,
    terminal: bool,
    token: str | None = None,
    file: str | None = None,
) -> ExportPlan:
    """
    Decide by the environment.

    Args:
        token: the argument; it is shown, so it has to be checked to be a reference or a name.
    """
    home = home_system(requested)
    # With a system's own format the user selects the system.
    systems = sorted(ci_systems(environ), key=lambda system: home is not None and system.key != home.key)
    words = ["astro-token", "export"]
    words += [] if requested == "auto" else ["--format", requested]
    words += [token] if token else []
    return ExportPlan(
        requested, environ, terminal, tuple(systems), join(words), quote(file) if file else None
    )
