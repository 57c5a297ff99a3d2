"""
The steps from settings to a verified token, and the only list of them.

    backend ──> secret ──> field ──> key-backend ──> decryption ──> token ──> policy ──> api
                                     only with a key                                     only online

`read_token` stops at the first step that fails, `verify_all` collects the failure of each token,
and `doctor` observes every step and investigates a failure.
A chain repeats the first three for one reference after the other.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING

from astro_token.errors import AstroTokenError, InvalidTokenError, sanitized
from astro_token.log import logger
from astro_token.policy.rules import judge
from astro_token.record import Record, replace
from astro_token.secret import SecretValue
from astro_token.secrets.ciphertext import is_ciphertext
from astro_token.secrets.fields import select_field
from astro_token.secrets.read import prefixed_with, secret_value
from astro_token.secrets.registry import can, open_backend, require
from astro_token.secrets.schemes import BUILTIN
from astro_token.token import AstroToken, normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    from astro_token.astro_api import AstroApi
    from astro_token.policy.rules import Verdict
    from astro_token.secrets.protocols import Backend
    from astro_token.secrets.ref import SecretRef
    from astro_token.settings.resolve import TokenSettings
    from astro_token.tokens.online import Online
    from astro_token.transport.deadline import Deadline

    class Observer(Protocol):
        """
        Receive the outcome of every step. A failure does not end an observed walk.

        An observer may set attributes of the path to None, so that the steps that need them are skipped.
        """

        def ended(self, step: str, path: TokenPath, error: AstroTokenError | None) -> None: ...

        def skipped(self, step: str, path: TokenPath) -> None: ...


__all__ = [
    "API",
    "BACKEND",
    "DECRYPTION",
    "READING",
    "SECRET",
    "SELECTION",
    "VERIFICATION",
    "Step",
    "TokenPath",
    "is_local",
    "steps",
    "walk",
]


class TokenPath:
    """
    One token between its settings and its verdicts. Steps set its attributes, which are None before.

    The settings of a chain are those of its current reference, followed by the others.

    Attributes:
        given: a backend of the caller, used instead of the scheme's.
        api: an open client that several tokens share.
        ref: the reference to read; without its field if several tokens are fields of the secret.
        secret: the secret with all its fields.
        selected: the selected field, perhaps encrypted.
        value: the decrypted field.
        offline: the verdicts without Astro's.
        passed_over: earlier references of the chain, each with the reason.
    """

    def __init__(
        self,
        settings: TokenSettings,
        deadline: Deadline,
        *,
        given: Backend | None = None,
        api: AstroApi | None = None,
    ) -> None:
        self.deadline, self.given, self.api = deadline, given, api
        self.passed_over: tuple[tuple[SecretRef, AstroTokenError], ...] = ()
        self.turn_to(settings)
        absent: Any = None  # an observed walk skips the steps that need an absent attribute
        self.key_backend: Any = absent
        self.value: SecretValue = absent
        self.token: AstroToken = absent
        self.verdicts: tuple[Verdict, ...] = ()
        self.offline: tuple[Verdict, ...] = ()
        self.online: Online | None = None

    @property
    def is_chain(self) -> bool:
        return bool(self.settings.chain or self.passed_over)

    @property
    def refs(self) -> tuple[SecretRef, ...]:
        """All references of the chain, in order."""
        return (*(ref for ref, _ in self.passed_over), *self.settings.refs)

    def turn_to(self, settings: TokenSettings) -> None:
        """Begin with the reference of these settings."""
        absent: Any = None
        self.settings = settings
        self.ref = settings.ref
        self.backend: Any = absent
        self.secret: SecretValue = absent
        self.selected: SecretValue = absent


class Step(Record):
    """
    Attributes:
        run: sets attributes of the path, or raises an `AstroTokenError`.
        needs: attributes of the path. An observed walk skips the step if one of them is None.
    """

    name: str
    run: Callable[[TokenPath], None]
    needs: tuple[str, ...] = ()


def walk(path: TokenPath, steps: Sequence[Step], observer: Observer | None = None) -> AstroTokenError | None:
    """
    Run steps in order. Without an observer, end at the first failure and return it.

    A failure is returned, not raised: a traceback would lead to frames that hold secrets.
    """
    for step in steps:
        if observer is not None and any(getattr(path, name) is None for name in step.needs):
            observer.skipped(step.name, path)
            continue
        error = None
        try:
            step.run(path)
        except AstroTokenError as failure:
            error = sanitized(failure)
        if observer is not None:
            observer.ended(step.name, path, error)
        elif error is not None:
            return error
    return None


# -- the steps ----------------------------------------------------------------------------------------


def _open_backend(path: TokenPath) -> None:
    if path.given is None:
        path.backend = open_backend(path.settings.ref.scheme, deadline=path.deadline)
    else:
        path.backend = path.given


def _read_secret(path: TokenPath) -> None:
    ref = path.ref
    logger.debug("reading %s", ref)
    backend = require(path.backend, "read", ref.scheme, "has keys, not secrets")
    returned = path.deadline.retry(
        lambda seconds: backend.read(ref, timeout=seconds),
        local=path.given is None and is_local(ref.scheme),
        host=partial(_host, path, backend, ref),
    )
    path.secret = secret_value(returned)


def is_local(scheme: str) -> bool:
    """True if reading contacts no service, so that it cannot hang and needs no thread."""
    return scheme in BUILTIN and BUILTIN[scheme].local


def _host(path: TokenPath, backend: Any, ref: SecretRef) -> str:
    """Name the host that a backend contacts: its address if it has one, else the scheme."""
    address = ""
    with suppress(AstroTokenError):  # reading reports the reason
        if can(backend, "route"):
            # With a deadline: a plugin may block, and raise anything.
            address = path.deadline.once(lambda _: backend.route(ref).address.origin)
    return f"{ref.scheme} {address}"


def _select_field(path: TokenPath) -> None:
    path.selected = select_field(path.secret, path.settings.ref.field)
    if path.settings.decrypt is None:
        path.value = path.selected


def _open_key_backend(path: TokenPath) -> None:
    key: Any = path.settings.decrypt  # without a key, `DECRYPTION` is left out
    path.key_backend = open_backend(key.scheme, deadline=path.deadline)


def _decrypt(path: TokenPath) -> None:
    from astro_token.secrets.ciphertext import decode_ciphertext

    key: Any = path.settings.decrypt
    ciphertext = decode_ciphertext(path.selected)
    logger.debug("decrypting with %s", key)
    backend = require(path.key_backend, "decrypt", key.scheme, "cannot decrypt")

    def decrypt() -> SecretValue:
        returned = path.deadline.retry(
            lambda seconds: backend.decrypt(key, ciphertext, timeout=seconds),
            host=partial(_host, path, backend, key),
        )
        return secret_value(returned)

    path.value = SecretValue(prefixed_with(key, decrypt).reveal(), path.selected.version)


def _parse_token(path: TokenPath) -> None:
    try:
        token = AstroToken.parse(path.value)
    except InvalidTokenError as error:
        if is_ciphertext(normalise(path.value)):
            error.hint = "the value looks like ciphertext: name its key, as in --decrypt vault-transit:astro"
        raise
    path.token = replace(token, ref=path.settings.ref, chain=path.refs if path.is_chain else ())


def _evaluate(path: TokenPath) -> None:
    settings = path.settings
    path.verdicts = path.offline = judge(path.token, settings.policy, settings.expected)


def _ask_astro(path: TokenPath) -> None:
    from astro_token.astro_api import AstroApi
    from astro_token.tokens.online import consult

    with nullcontext(path.api) if path.api else AstroApi() as api:
        online = consult(path.token, path.offline, path.settings, api, path.deadline)
    path.online, path.token, path.verdicts = online, online.token, online.verdicts
    if online.error is not None:
        raise online.error


BACKEND = Step("backend", _open_backend)
SECRET = Step("secret", _read_secret, ("backend",))
READING = (BACKEND, SECRET)
SELECTION = (Step("field", _select_field, ("secret",)),)
DECRYPTION = (
    Step("key-backend", _open_key_backend),
    Step("decryption", _decrypt, ("key_backend", "selected")),
)
VERIFICATION = (Step("token", _parse_token, ("value",)), Step("policy", _evaluate, ("token",)))
API = (Step("api", _ask_astro, ("token",)),)


def steps(settings: TokenSettings, *, online: bool) -> tuple[Step, ...]:
    """List the steps after `SELECTION` that these settings require."""
    decryption = DECRYPTION if settings.decrypt else ()
    return (*decryption, *VERIFICATION, *(API if online else ()))
