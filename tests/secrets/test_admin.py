"""The reference of the credential that manages tokens."""

from __future__ import annotations

import pytest

from astro_token.errors import InvalidRefError
from astro_token.secrets.admin import ADMIN_VARIABLE, admin_ref
from astro_token.secrets.ref import SecretRef


def test_the_option_comes_before_the_variable() -> None:
    environ = {ADMIN_VARIABLE: "vault:secret/astro/admin"}
    assert SecretRef.parse("vault:secret/astro/admin") == admin_ref(environ)
    assert SecretRef("env", "X") == admin_ref(environ, "env:X")
    assert (None, None) == (admin_ref({}), admin_ref({ADMIN_VARIABLE: ""}))


@pytest.mark.parametrize("text", ["", "prod", "env:", "vault:a/../b"])
def test_a_malformed_reference_names_its_setting(text: str) -> None:
    with pytest.raises(InvalidRefError, match="--admin: "):
        admin_ref({}, text)
    if text:
        with pytest.raises(InvalidRefError, match=f"{ADMIN_VARIABLE}: "):
            admin_ref({ADMIN_VARIABLE: text})


@pytest.mark.parametrize("text", ["env:A,env:B", "file:/a,file:/b", "vault:secret/a#t,env:B", "env:A,"])
def test_a_chain_is_refused(text: str) -> None:
    """The name of a file, or a field, could contain the second reference."""
    for name, arguments in ((ADMIN_VARIABLE, ({ADMIN_VARIABLE: text},)), ("--admin", ({}, text))):
        with pytest.raises(InvalidRefError) as caught:
            admin_ref(*arguments)
        assert f"{name} names one secret, and takes no chain of references" == caught.value.message
    assert SecretRef("file", "/a,b") == admin_ref({ADMIN_VARIABLE: "file:/a%2Cb"})
