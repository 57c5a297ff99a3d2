"""What a log is told to hide: values, and every form that encodings give them."""

from __future__ import annotations

from astro_token.masker.forms import forms

__all__ = ["hidden"]


def hidden(values: tuple[str, ...]) -> list[str]:
    """
    The values whatever their length, and their forms, the longest first; nothing blank.

    Systems that derive some of the forms are told all the same: what stands in for them does not.
    """
    kept = [value for value in values if value.strip()]
    derived = {form for value in kept for form in forms(value.encode())}
    ordered = [form.decode() for form in sorted(derived, key=lambda form: (-len(form), form))]
    return [text for text in dict.fromkeys([*kept, *ordered]) if text.strip()]
