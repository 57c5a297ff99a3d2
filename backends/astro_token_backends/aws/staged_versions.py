"""Versions of a secret with stages: the one that consumers read, and the one of a managed rotation."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from astro_token.errors import BackendUnavailableError, changed_meanwhile
from astro_token_backends.aws.client import SecretService
from astro_token_backends.aws.errors import damaged, is_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secret import SecretValue
    from astro_token.secrets.ref import SecretRef

__all__ = ["CURRENT", "StagedVersions", "content_of"]

CURRENT = "AWSCURRENT"
_PENDING = "AWSPENDING"  # the stage of a managed rotation


class StagedVersions(SecretService):
    """
    The operations of a managed rotation, whose version has the identifier of its request.

    Permissions on the secret: `secretsmanager:DescribeSecret`, `secretsmanager:PutSecretValue`,
    `secretsmanager:UpdateSecretVersionStage`.
    """

    def stages(self, ref: SecretRef, *, timeout: float) -> Mapping[str, frozenset[str]] | None:
        """Return the stages of each version; None if rotation is not enabled."""

        def describe(until: float) -> Mapping[str, frozenset[str]] | None:
            response = self._request(ref, "describe_secret", until)
            if not isinstance(response.get("ARN"), str):
                raise damaged()
            versions = response.get("VersionIdsToStages") or {}
            stages = {version: frozenset(own) for version, own in versions.items()}
            return stages if response.get("RotationEnabled") is True else None

        return self._within(timeout, describe)

    def put_pending(self, ref: SecretRef, value: SecretValue, *, version: str, timeout: float) -> None:
        """
        Set the content of the version of a managed rotation, unless it has another one.

        Raises:
            BackendUnavailableError: it has another one.
        """

        def put(until: float) -> None:
            stages = [_PENDING]
            try:
                response = self._request(
                    ref,
                    "put_secret_value",
                    until,
                    ClientRequestToken=version,
                    VersionStages=stages,
                    **content_of(value),
                )
            except Exception as error:
                if not is_refusal(error, "PutSecretValue", {"ResourceExistsException"}):
                    raise
            else:
                if response.get("VersionId") != version:
                    raise damaged()
                return
            raise BackendUnavailableError("the version of the rotation has a value already")

        self._within(timeout, put)

    def make_current(self, ref: SecretRef, *, version: str, expected: str, timeout: float) -> None:
        """
        Make a version the current one if the expected one is current.

        Raises:
            BackendUnavailableError: another one is.
        """
        self._within(timeout, lambda until: self._move_current(ref, version, expected, until))

    def end_pending(self, ref: SecretRef, *, version: str, timeout: float) -> None:
        """Remove the stage of a managed rotation, so that another one can begin."""
        self._within(
            timeout,
            lambda until: self._request(
                ref,
                "update_secret_version_stage",
                until,
                VersionStage=_PENDING,
                RemoveFromVersionId=version,
            ),
        )

    def _move_current(
        self, ref: SecretRef, new: str, expected: str, until: float, *, stage: str | None = None
    ) -> None:
        """
        Args:
            stage: another one that the new version loses if it does not become the current one.
        """
        before = {} if expected == "0" else {"RemoveFromVersionId": expected}
        try:
            self._request(
                ref,
                "update_secret_version_stage",
                until,
                VersionStage=CURRENT,
                MoveToVersionId=new,
                **before,
            )
        except Exception as error:
            if not is_refusal(error, "UpdateSecretVersionStage"):
                raise
            if stage is not None:  # leave no version behind that looks pending
                pending = {"VersionStage": stage, "RemoveFromVersionId": new}
                with suppress(Exception):
                    self._request(ref, "update_secret_version_stage", until, **pending)
            # The codes for a stage that is not on the expected version.
            changed = {"InvalidParameterException", "ResourceNotFoundException"}
            if not is_refusal(error, "UpdateSecretVersionStage", changed):
                raise
        else:
            return
        raise changed_meanwhile()

    def _request(self, ref: SecretRef, operation: str, until: float, **arguments: Any) -> Any:
        return self._call(ref, operation, until, SecretId=ref.name, **arguments)


def content_of(value: SecretValue) -> dict[str, str | bytes]:
    try:
        return {"SecretString": value.reveal().decode()}
    except UnicodeDecodeError:
        return {"SecretBinary": value.reveal()}
