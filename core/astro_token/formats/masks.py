"""Texts that a log has to hide: values, and every form that encodings give them."""

from __future__ import annotations

from astro_token.masker.forms import forms

__all__ = ["texts_to_hide"]


def texts_to_hide(values: tuple[str, ...]) -> list[str]:
    """
    List the values of any length and their forms, the longest first, without blank ones.

    Systems that derive some of the forms get them all the same: their replacements do not derive ours.
    """
    visible = [value for value in values if value.strip()]
    derived = {form for value in visible for form in forms(value.encode())}
    ordered = [form.decode() for form in sorted(derived, key=lambda form: (-len(form), form))]
    return [text for text in dict.fromkeys([*visible, *ordered]) if text.strip()]
