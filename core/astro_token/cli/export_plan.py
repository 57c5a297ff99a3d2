"""Choose the format and destination of `export` from the environment, before the token is read."""

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
        terminal: true if standard error is a terminal.
        systems: the detected CI systems; the plan is for the first.
        call: the command line, for `Rendering.then`.
        file: the quoted argument of `--output`, or None.
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
        """True if standard error is read by a person and not by a CI system."""
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
        """The key of the system whose log can mask the token, or None."""
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
        Render a placeholder instead of the token.

        Raises:
            OutputError: the destination is missing or is not trusted.
        """
        home = home_system(self.format_name)
        if home and (self.system is None or self.system.key != home.key or self.interactive):
            # Elsewhere the format would show the token.
            raise OutputError(
                f"the {self.format_name} format is only for jobs of {home.name}",
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
        if rendering.masks is not None:
            refuse_destination(rendering.masks, self.environ)
        refuse_destination(rendering, self.environ)
        return rendering

    def notices(self) -> list[str]:
        """Return the messages that accompany the result."""
        if self.system is None:
            unknown = "unknown CI system: the output is for a POSIX shell, and the log hides nothing"
            return [unknown] if self.requested == "auto" and in_ci(self.environ) else []
        notices = []
        if others := ", ".join(system.name for system in self.systems[1:]):
            notices.append(f"the environment also shows {others}; this export is for {self.system.name}")
        if not self.interactive and self.log is None and not self.format.self_masking:
            notices.append(
                f"the log of {self.system.name} does not hide the token: make sure that nothing prints it"
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
    Plan an export.

    Args:
        token: the argument, which must be a valid reference or name because it is shown.
    """
    home = home_system(requested)
    # The own format of a system selects this system.
    systems = sorted(ci_systems(environ), key=lambda system: home is not None and system.key != home.key)
    options = [] if requested == "auto" else ["--format", requested]
    call = join(["astro-token", "export", *options, *([token] if token else [])])
    return ExportPlan(requested, environ, terminal, tuple(systems), call, quote(file) if file else None)
