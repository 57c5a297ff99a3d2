"""Files: encrypted with age, or plain ones such as mounted secrets."""

from __future__ import annotations

from astro_token.secrets.schemes import Scheme

__all__ = ["SCHEMES"]

SCHEMES = {
    "file": Scheme(
        backend="astro_token_backends.file.age_file:AgeFile",
        description="an age-encrypted file, or a plain one such as a mounted secret",
        form="PATH",
        example="file:prod.token.age",
        grammar=(r"[^\x00-\x1f\x7f]+",),
        canonical="astro_token_backends.file.age_file:canonical",
        rotation_suffix=".rotation",
        local=True,
        distributions=("pyrage",),
        credentials=("ASTRO_TOKEN_AGE_KEY", "ASTRO_TOKEN_AGE_KEY_FILE"),
        settings=("ASTRO_TOKEN_AGE_RECIPIENTS_FILE",),
    )
}
