"""Choose the format and destination of `export` from the environment, before the token is read."""

from __future__ import annotations

from shlex import join, quote
from typing import TYPE_CHECKING

from astro_token.ci import ci_systems, in_ci
from astro_token.ci.formats import all_formats, home_system, render
from astro_token.environment.export import TOKEN_VARIABLE
from astro_token.errors import InputOutputError, OutputError
from astro_token.formats.delivery import refuse_destination
from astro_token.formats.rendering import Rendering, Variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.ci.system import CISystem

__all__ = ["ExportPlan"]

_PLACEHOLDER = "placeholder"  # the value of a dry run


class ExportPlan:
    """
    Args:
        requested: a format's name, or auto.
        environ: the environment that decides.
        terminal: true if standard error is a terminal.
        token: the argument, which must be a valid reference or name because it is shown.
        file: the argument of `--output`, or None.

    Attributes:
        systems: the detected CI systems; the plan is for the first.
        interactive: true if standard error is read by a person and not by a CI system.
        log: the key of the system whose log can mask the token, or None.
    """

    def __init__(
        self,
        requested: str,
        environ: Mapping[str, str],
        *,
        terminal: bool,
        token: str | None = None,
        file: str | None = None,
    ) -> None:
        home = home_system(requested)
        # The own format of a system selects this system.
        self.systems = sorted(
            ci_systems(environ), key=lambda system: home is not None and system.key != home.key
        )
        self.system = system = next(iter(self.systems), None)
        self.requested, self.environ, self.file = requested, environ, quote(file) if file else None
        self.interactive = terminal and not (system and system.terminal)
        self.format_name = requested
        if requested == "auto":
            self.format_name = system.format if system else "posix"
        self.format = all_formats()[self.format_name]
        options = [] if requested == "auto" else ["--format", requested]
        self._call = join(["astro-token", "export", *options, *([token] if token else [])])
        self.log = self._masking_log(system)

    def _masking_log(self, system: CISystem | None) -> str | None:
        if system is None or system.masks is None or self.interactive:
            return None
        # A system's own format is refused anyway without its file or program.
        if not self.format.exclusive and system.refuse_log is not None:
            try:
                system.refuse_log(self.environ)
            except (OutputError, InputOutputError):
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
            call=self._call,
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
