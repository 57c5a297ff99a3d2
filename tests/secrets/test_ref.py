"""The grammar of references, and what it keeps out."""

from __future__ import annotations

import functools
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from astro_token.errors import InvalidRefError
from astro_token.secrets.ref import SecretRef
from astro_token.secrets.schemes import BUILTIN
from astro_token.testing import make_token
from tests.rows import each_row

MARK = "hunter2mark"  # stands in every hostile reference, and must not come back

GOOD = """
vault:secret/astro/prod
vault:secret/astro/prod#token
vault://secret/astro/prod#token
vault:kv-v2/a/b/c.d_e?version=3&namespace=team/prod&kv=2#api-token
vault:secret/astro?namespace=admin/
vault:secret/..hidden/...
vault-transit:astro
vault-transit:transit/astro?namespace=team
aws:astro/prod#token
aws:/astro/prod
aws:astro+prod=1.0@team?region=eu-west-1&stage=AWSCURRENT
aws:astro?version_id=01234567-89ab-cdef-0123-456789abcdef
aws:arn:aws:secretsmanager:eu-west-1:123456789012:secret:astro/prod-AbCdEf#token
aws:arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:astro
aws-ssm:/astro/prod
aws-ssm:astro?version=3
aws-ssm:/astro/prod?label=current&region=us-east-1
aws-ssm:arn:aws:ssm:eu-west-1:123456789012:parameter/astro/prod
aws-kms:alias/astro?context.team=data&context.stage=prod
aws-kms:arn:aws:kms:eu-west-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef
gcp:my-project/astro-prod
gcp:example.com:my-project/astro
gcp:my-project/astro?version=7#token
gcp:projects/my-project/secrets/astro/versions/latest
gcp:projects/123456789/locations/europe-west1/secrets/astro
gcp-pm:my-project/astro-prod?version=v1&location=europe-west3#token
gcp-pm:projects/my-project/locations/global/parameters/astro-prod/versions/v1#token
gcp-kms:projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k?context.a=b
azure:my-vault/astro-prod
azure:https://my-vault.vault.azure.net/secrets/astro-prod
azure:https://my-vault.vault.azure.net:443/secrets/astro/0123456789abcdef0123456789abcdef#token
azure:my-vault/astro?version=0123456789abcdef0123456789abcdef
azure-keys:my-vault/astro
file:prod.token.age
file:/run/secrets/astro
file:///run/secrets/astro
file:../other/prod.age#token
file:C:\\tokens\\prod.age
file:naïve ✓/日本.age
file:user@host/x
env:ASTRO_API_TOKEN
env:_x
keyring:astro/prod
sqlite:/var/lib/tokens.db/prod?any=thing#x
""".strip().splitlines()

# What each scheme would be walked out of, and where.
PLACES = (
    f"vault:secret/{MARK}/{{}}/x",
    f"vault:secret/{{}}/{MARK}",
    f"vault:{{}}/secret/{MARK}",
    f"vault:secret/{MARK}/{{}}",
    f"vault://secret/{{}}/{MARK}",
    f"vault-transit:transit/{{}}/{MARK}",
    f"vault:secret/astro?namespace={MARK}/{{}}/x",
    f"aws:{MARK}/{{}}/x",
    f"aws-ssm:/{MARK}/{{}}/x",
    f"gcp:my-project/{{}}/{MARK}",
    f"gcp:projects/{MARK}/secrets/{{}}/x",
    f"azure:my-vault/{{}}/{MARK}",
    f"azure:https://v.vault.azure.net/secrets/{{}}/{MARK}",
    f"sqlite:{MARK}/{{}}/x",
)
WALKS = (
    *("..", ".", "../..", "../../sys/health", "./.", "x/../../y"),
    *("%2e%2e", "%2E%2E", "%2e.", ".%2e", "%2e", "%252e%252e", "%25252e%25252e", "%2e%2e%2f%2e%2e"),
    *("..\\..", "..\0", "..\n", "\r..", "..\t", "..\x7f", "..\x85", "..\u2028"),
    *("..\u200b", "\u202e..", "\ufeff..", "..\u2066", "..\ud800", "\u061c.."),
)
# What only a scheme with a grammar of its own keeps out.
STRANGE = (
    *("", "%2f", "%00", "%c0%ae%c0%ae", "%5c..%5c", "..%2f", "..;", "..;/"),
    *("\uff0e\uff0e", "\u2025", "\u2024\u2024", "a\u2215b", "a\u2044b", "é"),
    *("*", "~root", "$(id)", "`id`", "${HOME}", "{{x}}", "a b", "a;b", "a|b", "a<b", 'a"b', "a'b", "a\\b"),
)
USERS = (
    f"https://user:{MARK}@host/path",
    f"vault://user:{MARK}@host/secret/x",
    f"vault://{MARK}@host/secret/x",
    f"vault:user:{MARK}@host/secret/x",
    f"azure:https://user:{MARK}@my-vault.vault.azure.net/secrets/x",
    f"azure:https://{MARK}@my-vault.vault.azure.net/secrets/x",
    f"azure:https://my-vault.vault.azure.net@{MARK}/secrets/x",
    f"gcp:user:{MARK}@project/secret",
    f"file://user:{MARK}@host/path",
    f"user:{MARK}@host",
    f"sqlite:user:{MARK}@host/x",
    f"sqlite:user%3A{MARK}%40host/x",
    f"postgres://user:{MARK}@host/x",
)
OPTIONS = (
    f"vault:secret/x?addr=https://{MARK}",
    f"vault:secret/x?address={MARK}",
    f"vault:secret/x?token={MARK}",
    f"vault:secret/x?ca={MARK}",
    f"vault:secret/x?verify={MARK}",
    f"vault:secret/x?Version={MARK}",
    f"vault:secret/x?version={MARK}",
    f"vault:secret/x?version=0#{MARK}",
    f"vault:secret/x?version=-1#{MARK}",
    f"vault:secret/x?version=1٣#{MARK}",
    f"vault:secret/x?version=1&version=2#{MARK}",
    f"vault:secret/x?version=1&%76ersion=2#{MARK}",
    f"vault:secret/x?version=1&addr={MARK}",
    f"vault:secret/x?version=1%26addr={MARK}",
    f"vault:secret/x?version=1%0a{MARK}",
    f"vault:secret/x?kv=3#{MARK}",
    f"vault:secret/x?namespace=../{MARK}",
    f"vault:secret/x?namespace=%2e%2e/{MARK}",
    f"vault:secret/x?namespace=a//{MARK}",
    f"vault:secret/x?namespace=/{MARK}",
    f"vault:secret/x?{MARK}",
    f"vault:secret/x?={MARK}",
    f"vault:secret/x?version=#{MARK}",
    f"vault:secret/x?#{MARK}",
    f"vault:secret/x??version={MARK}",
    f"vault:secret/x?version=1?kv={MARK}",
    f"vault:secret/x?context.a={MARK}",
    f"aws:x?endpoint={MARK}",
    f"aws:x?endpoint_url=https://{MARK}",
    f"aws:x?region={MARK}",
    f"aws:x?region=eu-west-1.{MARK}.example",
    f"aws:x?region=eu-west-1/{MARK}",
    f"aws:x?region=eu-west-1%23{MARK}",
    f"aws:x?profile={MARK}",
    f"aws:x?role={MARK}",
    f"aws:arn:aws:secretsmanager:eu-west-1.{MARK}:123456789012:secret:x",
    f"aws:arn:aws:secretsmanager:eu-west-1:{MARK}:secret:x",
    f"aws:arn:aws:secretsmanager:eu-west-1:12345678901٣:secret:{MARK}",
    f"aws:arn:aws:iam:eu-west-1:123456789012:secret:{MARK}",
    f"aws-kms:alias/x?context.={MARK}",
    f"aws-kms:alias/x?context.{MARK}=%00",
    f"aws-kms:alias/x#{MARK}",
    f"gcp:p1/x?endpoint={MARK}",
    f"gcp:p1/x?version={MARK}!",
    f"gcp:projects/p1/secrets/x/versions/3?version=4#{MARK}",
    f"azure:my-vault/x?version={MARK}",
    f"azure:http://{MARK}/secrets/x",
    f"azure:https://{MARK}",
    f"azure:https:///secrets/{MARK}",
    f"azure:https://v.vault.azure.net/secrets/x/0123456789abcdef0123456789abcdef?version={'0' * 32}#{MARK}",
    f"azure:file:///{MARK}",
    f"env:{MARK}=x",
    f"env:{MARK}-X",
    f"env:1{MARK}",
    f"env:{MARK} X",
    f"env:x?version={MARK}",
    f"file:x?version={MARK}",
    f"vault:sys/{MARK}",
    f"vault:auth/token/{MARK}",
    f"vault:identity/{MARK}",
    f"vault:cubbyhole/{MARK}",
    f"vault-transit:sys/{MARK}",
    f"vault:{MARK}",
    f"vault:secret/x/{MARK}/",
    f"vault:/secret/{MARK}",
    f"vault:secret//{MARK}",
    f"vault:secret/{'a' * 129}/{MARK}",
    f"file:{'a' * 2100}{MARK}",
)
FORMS = (
    "",
    ":",
    "::",
    MARK,
    f":{MARK}",
    f"#{MARK}",
    f"?{MARK}",
    f"{MARK}:x/../y",
    f"{MARK}:x?y",
    f"Vault:secret/{MARK}",
    f"VAULT:secret/{MARK}",
    f" vault:secret/{MARK}",
    f"vault :secret/{MARK}",
    f"vault\n:secret/{MARK}",
    f"-vault:secret/{MARK}",
    f"9vault:secret/{MARK}",
    f"vault_x:secret/{MARK}",
    f"{'v' * 33}:secret/{MARK}",
    f"vaúlt:secret/{MARK}",
    "vault:",
    "vault://",
    f"vault:#{MARK}",
    f"vault:secret/{MARK}#",
    f"vault:secret/{MARK}?",
    f"vault:secret/x#{MARK}\n",
    f"vault:secret/x#{MARK}\x1b[31m",
    f"vault:secret/x#\u202e{MARK}",
    f"file:{MARK}\n::error::x",
    f"file:{MARK}\x00",
    f"env:{MARK}\n",
    f"vault:secret/{make_token()}",
    f"file:{make_token()}#{MARK}",
    make_token(),
    f"Bearer {make_token()}",
    f"vault:secret/x#{make_token()}",
    f"aws-kms:alias/x?context.a={make_token().replace('.', '%2E')}",
)
CORPUS = tuple(
    dict.fromkeys(
        (
            *(place.format(walk) for place in PLACES for walk in WALKS),
            *(place.format(text) for place in PLACES[:-1] for text in STRANGE),
            *USERS,
            *OPTIONS,
            *FORMS,
        )
    )
)


def refusal(text: str) -> InvalidRefError | None:
    try:
        SecretRef.parse(text)
    except InvalidRefError as error:
        return error
    return None


@each_row("text", GOOD)
def test_a_good_reference_is_read_and_its_text_reads_back_as_the_same(text: str) -> None:
    ref = SecretRef.parse(text)
    assert ref == SecretRef.parse(str(ref))


@each_row("scheme", sorted(BUILTIN))
def test_the_example_of_every_scheme_is_a_reference_of_it(scheme: str) -> None:
    assert scheme == SecretRef.parse(BUILTIN[scheme].example).scheme


def test_the_parts_are_told_apart() -> None:
    assert SecretRef("vault", "secret/a", "x#y?z", {"version": "3", "kv": "2"}) == SecretRef.parse(
        "vault:secret/a?version=3&kv=2#x#y?z"
    )


def test_a_reference_may_be_written_as_a_url() -> None:
    assert SecretRef.parse("vault:secret/a#b") == SecretRef.parse("vault://secret/a#b")
    assert SecretRef("file", "/run/x") == SecretRef.parse("file:///run/x")


def test_a_name_that_begins_with_slashes_keeps_them() -> None:
    ref = SecretRef("file", "//server/share")
    assert ref == SecretRef.parse(str(ref))


def test_an_option_is_percent_decoded_once() -> None:
    ref = SecretRef.parse("aws-kms:alias/a?context.x=100%25%26%20%3D&context.a%3Db=c")
    assert {"context.x": "100%& =", "context.a=b": "c"} == dict(ref.options)
    assert ref == SecretRef.parse(str(ref))


# For each scheme: the characters of a name that its service allows, and that no text would contain.
ALLOWED = {
    "vault": st.text(
        st.characters(exclude_categories=("C", "Z"), exclude_characters="/\\") | st.sampled_from(" +@#?%;"),
        min_size=1,
        max_size=20,
    ).map("secret/{}".format),
    "file": st.text(st.characters(exclude_categories=("C", "Z")) | st.sampled_from(" #?%"), min_size=1),
    "env": st.text(
        st.characters(exclude_categories=("C", "Z"), exclude_characters="=/"), min_size=1, max_size=20
    ),
    "aws": st.from_regex(r"[A-Za-z0-9/_+=.@-]{1,40}", fullmatch=True),
    "aws-ssm": st.from_regex(r"[A-Za-z0-9_.-]{1,40}", fullmatch=True),
    "gcp": st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True).map("my-project/{}".format),
    "azure": st.from_regex(r"[A-Za-z0-9-]{1,40}", fullmatch=True).map("my-vault/{}".format),
}


@pytest.mark.parametrize("scheme", ALLOWED)
@given(data=st.data())
@settings(max_examples=60)
def test_every_name_of_a_service_has_a_reference(scheme: str, data: st.DataObject) -> None:
    name = data.draw(ALLOWED[scheme])
    try:
        ref = SecretRef(scheme, name)
    except InvalidRefError:
        # A path that could lead elsewhere, a variable that begins with a digit, a text that is too long.
        assume(False)
        raise
    assert str(ref).isprintable()
    assert (name, ref) == (SecretRef.parse(str(ref)).name, SecretRef.parse(str(ref)))
    # Any character may be encoded, except a slash.
    every = "".join(
        letter if letter == "/" else "".join(f"%{byte:02x}" for byte in letter.encode()) for letter in name
    )
    assert ref == SecretRef.parse(f"{scheme}:{every}")


@each_row(
    ("text", "name"),
    [
        ("vault:secret/a%20b%2B%40c/%C3%A9#x", "secret/a b+@c/é"),
        ("file:/a\u00a0b%20c", "/a\u00a0b c"),
        ("file:/a\u00adb\u3000%41", "/a\u00adb\u3000A"),
        ("vault:secret/100%25", "secret/100%"),
        ("file:/builds/c%23/app%3F/t", "/builds/c#/app?/t"),
        ("file:100%", "100%"),
        ("env:npm%2Etoken", "npm.token"),
    ],
)
def test_a_character_outside_the_grammar_is_percent_encoded(text: str, name: str) -> None:
    ref = SecretRef.parse(text)
    assert (name, ref) == (ref.name, SecretRef.parse(str(ref)))


def test_a_character_that_must_be_encoded_is_explained() -> None:
    error = refusal("vault:secret/a b")
    assert error is not None
    assert "percent-encoded, a blank as %20" in (error.hint or "")


@each_row(
    "text",
    [
        *("vault:secret/a%2Fb", "vault:secret/%2e%2e/x", "vault:secret/..%3B/x", "vault:secret/%252e%252e/x"),
        *(
            "vault:secret/%EF%BC%8E%EF%BC%8E/x",
            "vault:secret/%5C..%5Cx",
            "vault:secret/a%0Ab",
            "vault:sys%2Fx/y",
        ),
        *("env:a%3Db", "env:a%00", "file:a%0A", "aws:a%20b", "gcp:p1/a%2B", "vault:secret/%FF"),
    ],
)
def test_an_encoded_character_that_could_lead_elsewhere_is_refused(text: str) -> None:
    assert refusal(text) is not None


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 800


def test_every_hostile_reference_is_refused() -> None:
    assert [] == [text for text in CORPUS if refusal(text) is None]


def test_a_refusal_repeats_nothing_of_what_was_refused() -> None:
    def echoed(text: str) -> bool:
        error = refusal(text)
        shown = f"{error} {error.message} {error.hint} {error.args}" if error else ""
        return MARK in shown or "eyJ" in shown or bool(re.search(r"[\x00-\x1f\u202e\ud800]", shown))

    assert [] == [text for text in CORPUS if echoed(text)]


def test_a_refusal_has_one_line_and_a_hint() -> None:
    for text in CORPUS:
        error = refusal(text)
        assert error is not None
        assert error.hint
        assert 1 == len(f"{error.message} {error.hint}".splitlines())


def test_an_unknown_option_is_answered_with_the_nearest_known_one() -> None:
    error = refusal("vault:secret/a?versoin=3")
    assert error is not None
    assert "did you mean version? vault takes kv, namespace, version" == error.hint


def test_a_scheme_without_options_says_so() -> None:
    error = refusal("env:X?version=3")
    assert error is not None
    assert "env takes no options" == error.hint


def test_a_token_in_place_of_a_reference_is_told_to_be_replaced() -> None:
    error = refusal(make_token())
    assert error is not None
    assert "a token was given where its reference or name is wanted" == error.message
    assert "replace that token" in (error.hint or "")


def test_a_constructed_reference_obeys_the_same_grammar() -> None:
    for scheme, name, field, options in (
        ("vault", "secret/../x", None, {}),
        ("vault", "secret/x", "", {}),
        ("vault", "secret/x", None, {"nope": "1"}),
        ("aws", "x?version_id=1", None, {}),
        ("vault", "secret/x", make_token(), {}),
        ("file", "", None, {}),
    ):
        with pytest.raises(InvalidRefError):
            SecretRef(scheme, name, field, options)


def test_its_options_cannot_be_changed() -> None:
    options = {"version": "1"}
    ref = SecretRef("vault", "secret/a", options=options)
    options["version"] = "2"
    assert "1" == ref.options["version"]
    with pytest.raises(TypeError):
        ref.options["version"] = "2"  # type: ignore[index]


def test_equal_references_have_equal_hashes_and_options_tell_them_apart() -> None:
    one, two = SecretRef.parse("vault:secret/a?version=1"), SecretRef.parse("vault:secret/a?version=2")
    assert one != two
    assert hash(one) == hash(SecretRef.parse(str(one)))
    assert {one: 1, two: 2}[two] == 2


@each_row(
    ("text", "pinned"),
    [
        ("vault:secret/a", False),
        ("vault:secret/a?kv=2", False),
        ("vault:secret/a?version=2", True),
        ("aws:a", False),
        ("aws:a?stage=AWSPREVIOUS", True),
        ("aws:a?version_id=01234567-89ab-cdef-0123-456789abcdef", True),
        ("aws-ssm:a?label=x", True),
        ("gcp:p1/a", False),
        ("gcp:p1/a?version=latest", False),
        ("gcp:p1/a?version=3", True),
        ("gcp:projects/p1/secrets/a/versions/3", True),
        ("gcp:projects/p1/secrets/a/versions/latest", False),
        ("azure:https://v.vault.azure.net/secrets/a", False),
        ("azure:https://v.vault.azure.net/secrets/a/0123456789abcdef0123456789abcdef", True),
        ("file:a", False),
        ("sqlite:a?version=3", True),
        ("sqlite:a", False),
    ],
)
def test_a_reference_to_one_version_is_pinned(text: str, pinned: bool) -> None:
    assert pinned == SecretRef.parse(text).pinned


def test_the_field_can_be_left_out() -> None:
    assert "vault:secret/a?version=2" == str(SecretRef.parse("vault:secret/a?version=2#x").without_field())


@given(st.text(max_size=300))
@settings(max_examples=200)
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    refusal(text)


@given(
    st.lists(
        st.sampled_from(
            [
                *BUILTIN,
                *":/?#=&%@.",
                "//",
                "..",
                "%2e",
                "secret",
                "version",
                "arn:aws:",
                "https://",
                "a",
                "\n",
                "é",
                "\ud800",
            ]
        ),
        max_size=14,
    )
)
@settings(max_examples=300)
def test_no_text_of_a_references_pieces_makes_the_parser_fail_and_what_it_reads_reads_back(
    pieces: list[str],
) -> None:
    text = "".join(pieces)
    try:
        ref = SecretRef.parse(text)
    except InvalidRefError:
        return
    assert ref == SecretRef.parse(str(ref))
    assert str(ref).isprintable() or " " in text
    assert ref.scheme == "file" or not {".", ".."} & set(ref.name.split("/"))


@functools.cache
def matching(form: str) -> st.SearchStrategy[str]:
    return st.from_regex(re.compile(form, re.ASCII), fullmatch=True)


SHORT, FIELD = st.text(min_size=1, max_size=8), st.none() | st.text(min_size=1, max_size=20)


@st.composite
def of_a_builtin_scheme(draw: st.DrawFn) -> SecretRef:
    scheme = draw(st.sampled_from(sorted(BUILTIN)))
    row = BUILTIN[scheme]
    name = draw(matching(draw(st.sampled_from(row.grammar))))
    options = {
        option + (draw(SHORT) if option.endswith(".") else ""): draw(matching(form))
        for option, form in row.options.items()
        if draw(st.booleans())
    }
    field = draw(FIELD)
    try:
        return SecretRef(scheme, name, field, options)
    except InvalidRefError:
        assume(False)
        raise


@given(of_a_builtin_scheme())
@settings(max_examples=60)
def test_every_reference_of_a_builtin_scheme_survives_its_text(ref: SecretRef) -> None:
    assert ref == SecretRef.parse(str(ref))


@given(
    st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True).filter(lambda scheme: scheme not in BUILTIN),
    st.text(min_size=1, max_size=40),
    st.none() | st.text(min_size=1, max_size=20),
    st.dictionaries(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8), max_size=3),
)
@settings(max_examples=200)
def test_every_reference_of_a_plugins_scheme_survives_its_text(
    scheme: str, name: str, field: str | None, options: dict[str, str]
) -> None:
    try:
        ref = SecretRef(scheme, name, field, options)
    except InvalidRefError:
        return
    assert ref == SecretRef.parse(str(ref))
