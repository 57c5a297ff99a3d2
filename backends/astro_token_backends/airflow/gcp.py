"""Airflow's backend for Secret Manager of Google Cloud."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from astro_token.errors import ConfigError
from astro_token.system.files import read_credential
from astro_token.system.variables import expanded, setting
from astro_token_backends.airflow.lookup import Lookup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token_backends.airflow.lookup import Question
    from astro_token_backends.airflow.settings import Kwargs

__all__ = ["key_text", "secret_manager"]

_FILE, _ACCOUNT = "GOOGLE_APPLICATION_CREDENTIALS", "ASTRO_TOKEN_GCP_SERVICE_ACCOUNT"
_PROJECT = "GOOGLE_CLOUD_PROJECT"


def secret_manager(question: Question) -> Lookup:
    kwargs, environ = question.kwargs, question.environ
    prefix = question.prefix("airflow-{}")
    separator = kwargs.text("sep", "-") or ""
    given = kwargs.text("project_id")
    kwargs.text("gcp_scopes")  # one scope serves all of Google Cloud
    name, key = _key(kwargs)
    accounts = kwargs.texts("impersonation_chain")
    kwargs.finish()
    if not all(re.fullmatch(r"[^@,\s]+@[^@,\s]+", account) for account in accounts):
        raise kwargs.wrong(
            "impersonation_chain", "the e-mail address of a service account, or a list of them"
        )
    project = given or _project(accounts, key, environ)
    question.check_team("--")
    if prefix is None:
        raise question.excluded()
    if not project:
        raise kwargs.missing("project_id", f"add it, or set {_PROJECT} to the project")
    overlay, arguments = {}, {}
    if key:
        overlay[_FILE], arguments[_FILE] = key, name
    if accounts:
        overlay[_ACCOUNT], arguments[_ACCOUNT] = ",".join(accounts), "impersonation_chain"
    ref = question.ref("gcp", f"{project}/{prefix}{separator}{question.name}")
    return Lookup((ref,), overlay, arguments=arguments)


def key_text(key: Mapping[str, Any]) -> str:
    """Return the text of a service account's key, whose line ends a setting may have escaped."""
    private = key.get("private_key")
    more = {"private_key": private.replace("\\n", "\n")} if isinstance(private, str) else {}
    return json.dumps({"type": "service_account", **key, **more})


def _key(kwargs: Kwargs) -> tuple[str, str]:
    """Return the argument with the credential, and the path or the text of its file; else empty texts."""
    file, content = kwargs.text("gcp_key_path"), kwargs.object("gcp_keyfile_dict")
    configuration = kwargs.text_or_object("gcp_credential_config_file")
    if isinstance(configuration, dict):
        configuration = json.dumps(configuration) if configuration else ""
    keys = {
        "gcp_key_path": file or "",
        "gcp_keyfile_dict": key_text(content) if content else "",
        "gcp_credential_config_file": configuration.strip(),
    }
    given = [(name, key) for name, key in keys.items() if key]
    if len(given) > 1:
        raise ConfigError(
            f"{kwargs.variable} has {' and '.join(name for name, _ in given)}", hint="remove all but one"
        )
    return given[0] if given else ("", "")


def _project(accounts: list[str], key: str, environ: Mapping[str, str]) -> str:
    """Return the project of the credential, as far as it shows without a request; else an empty text."""
    if accounts:
        return accounts[-1].partition("@")[2].partition(".")[0]
    return _project_of(key) if key else setting(environ, _PROJECT) or _project_of(setting(environ, _FILE))


def _project_of(key: str) -> str:
    try:
        text = key if key.startswith("{") else read_credential(expanded(key))
        project = json.loads(text).get("project_id")
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""  # the login names the file
    return project if isinstance(project, str) else ""
