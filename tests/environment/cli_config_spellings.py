"""
Spellings of the Astro CLI's configuration: such as redirect the CLI, and such as are harmless.

Each is built from a way to write a value, a key or a file, and no spelling may be accepted that YAML, or the
CLI behind it, reads as another address.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

EVIL = "http://127.0.0.1:9/x?"


def redirecting() -> Iterator[bytes]:
    """At least 200 different files with which the Astro CLI sends, or could send, the token elsewhere."""
    for text in (*_values(), *_keys(), *_structures(), *_line_breaks(), *_others(), *_programs()):
        yield text.encode("utf-8", "surrogatepass")
    yield from _encodings()


def _nested(value: str, key: str = "protocol", indent: int = 2) -> str:
    blanks = " " * indent
    return f"cloud:\n{blanks}api:\n{blanks * 2}{key}:{value}\n"


def _values() -> Iterator[str]:
    """Values of the protocol in every form of a scalar."""
    addresses = (
        EVIL,
        "http",
        "HTTP",
        "HTTPS",
        "Https",
        "https:",
        "https://evil.example#",
        "https://evil/?",
        "h",
        "ftp",
    )
    forms = (
        " {0}", "  {0}", " '{0}'", ' "{0}"', " {0} # https", ' "{0}" # https', "\n      {0}", "\n      '{0}'",
        " |-\n      {0}", " >-\n      {0}", " !!str {0}", " ! {0}", " &a {0}", " !!str\n      {0}",
        "\n      &a\n      {0}",
    )  # fmt: skip
    for form, address in product(forms, addresses):
        yield _nested(form.format(address))
    for escaped in (
        "\\x68ttp",
        "\\u0068ttp",
        "\\U00000068ttp",
        "h\\\n        ttp",
        "https\\x3a//evil/?",
        "https\\\n",
    ):
        yield _nested(f' "{escaped}"')
    for broken in (
        " https\n        ://evil/?",
        " 'https\n        evil'",
        ' "https\n        evil"',
        " https evil",
        " - https",
    ):
        yield _nested(broken)
    for odd in (
        "",
        " ~",
        " null",
        " ''",
        ' ""',
        " {}",
        " []",
        " [https]",
        " {https: }",
        " https\t#",
        "\thttp",
        " https,",
    ):
        yield _nested(odd)
    yield f"a: &a {EVIL}\n" + _nested(" *a")
    yield f"project:\n  name: &a {EVIL}\n" + _nested(" *a")


def _keys() -> Iterator[str]:
    """Spellings of the key that YAML or the CLI reads as the protocol's."""
    keys = (
        "PROTOCOL", "Protocol", "pRoToCoL", '"protocol"', "'protocol'", '"PROTOCOL"', '"\\x70rotocol"',
        '"proto\\u0063ol"', "!!str protocol", "&k protocol", "? protocol\n    ", "*k ",
        "protocol ", '"protocol" ',
        "\ufeffprotocol", "protocol\u00a0", "'proto''col'",
    )  # fmt: skip
    for key in keys:
        yield _nested(f" {EVIL}", key)
    for section in (
        "CLOUD",
        "Cloud",
        '"cloud"',
        "'cloud'",
        '"\\x63loud"',
        "!!str cloud",
        "!!map cloud",
        "&c cloud",
    ):
        yield f"{section}:\n  api:\n    protocol: {EVIL}\n"
        yield f"cloud:\n  api: {{}}\n{section}:\n  api:\n    protocol: {EVIL}\n"
    for dotted in (
        "cloud.api.protocol",
        '"cloud.api.protocol"',
        "'cloud.api.protocol'",
        "Cloud.API.protocol",
    ):
        yield f"{dotted}: {EVIL}\n"
    for dotted in ("api.protocol", '"api.protocol"', "API.protocol"):
        yield f"cloud:\n  {dotted}: {EVIL}\n"
    yield f"? cloud\n: api:\n    protocol: {EVIL}\n"
    yield f"? [cloud, api]\n: {EVIL}\n"
    yield f"cloud:\n  ? api\n  : protocol: {EVIL}\n"


def _structures() -> Iterator[str]:
    """Flow and block forms, merges, repeated keys, further documents."""
    yield f"{{cloud: {{api: {{protocol: '{EVIL}'}}}}}}\n"
    yield f"cloud: {{api: {{protocol: '{EVIL}'}}}}\n"
    yield f"cloud:\n  api: {{protocol: '{EVIL}'}}\n"
    yield f'cloud: {{"api": {{"protocol":"{EVIL}"}}}}\n'
    yield f'{{"cloud":{{"api":{{"protocol":"{EVIL}"}}}}}}'
    yield f"cloud:\n  api: {{\n    protocol: '{EVIL}'\n  }}\n"
    yield f"base: &b\n  protocol: {EVIL}\ncloud:\n  api:\n    <<: *b\n"
    yield f"cloud:\n  api:\n    <<: {{protocol: '{EVIL}'}}\n"
    yield f"cloud:\n  <<:\n    api:\n      protocol: {EVIL}\n"
    yield "cloud:\n  api: <<\n"
    yield f"<<:\n  cloud:\n    api:\n      protocol: {EVIL}\n"
    yield f'"<<":\n  cloud:\n    api:\n      protocol: {EVIL}\n'
    yield f"<<: !!map\n  cloud:\n    api:\n      protocol: {EVIL}\n"
    yield f"x: &x\n  api:\n    protocol: {EVIL}\ncloud: *x\n"
    yield f"cloud: !!map\n  api:\n    protocol: {EVIL}\n"
    yield f"cloud: &c\n  api:\n    protocol: {EVIL}\n"
    yield f"--- {{cloud: {{api: {{protocol: '{EVIL}'}}}}}}\n"
    yield f"--- !!map\ncloud:\n  api:\n    protocol: {EVIL}\n"
    yield f"%YAML 1.1\n---\ncloud:\n  api:\n    protocol: {EVIL}\n"
    yield f"project:\n  name: demo\n---\ncloud:\n  api:\n    protocol: {EVIL}\n"
    yield "cloud:\n  api:\n    protocol: https\n---\nproject:\n  name: demo\n"
    yield f"cloud:\n  api:\n    protocol: https\n...\n---\ncloud:\n  api:\n    protocol: {EVIL}\n"
    yield f"cloud:\n  api:\n    protocol: https\n    protocol: {EVIL}\n"
    yield f"cloud:\n  api:\n    protocol: https\n    Protocol: {EVIL}\n"
    yield f"cloud:\n  api:\n    protocol: https\ncloud:\n  api:\n    protocol: {EVIL}\n"
    yield f"cloud:\n  api:\n    protocol: https\n  API:\n    protocol: {EVIL}\n"
    yield f"cloud:\n  api:\n   # https\n    protocol: {EVIL}\n"
    yield f"cloud:\n   api:\n     protocol: https\n  api:\n     protocol: {EVIL}\n"
    yield f"  cloud:\n    api:\n      protocol: https\ncloud:\n  api:\n    protocol: {EVIL}\n"
    yield f"a: |\ncloud:\n  api:\n    protocol: {EVIL}\n"
    yield f"a: |2\n   x\ncloud:\n  api:\n    protocol: {EVIL}\n"
    yield f"a: 'x\ncloud:\n  api:\n    protocol: {EVIL}\nb: '\n"
    yield f"- cloud:\n    api:\n      protocol: {EVIL}\n"
    yield f"cloud:\n- api:\n    protocol: {EVIL}\n"
    yield f"cloud:\n  api:\n  - protocol: {EVIL}\n"
    yield f"cloud:\n\tapi:\n\t\tprotocol: {EVIL}\n"
    yield f"cloud:\n  api:\n    \tprotocol: {EVIL}\n"
    yield f"!<tag:yaml.org,2002:map>\ncloud:\n  api:\n    protocol: {EVIL}\n"


def _line_breaks() -> Iterator[str]:
    """Characters that one reader takes for a line end and another does not, or drops."""
    for end in ("\r", "\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"):
        yield f"# harmless{end}cloud:\n  api:\n    protocol: {EVIL}\n"
        yield f"# harmless{end}cloud:{end}  api:{end}    protocol: {EVIL}{end}"
        yield f"project:\n  name: demo # {end}cloud:\n  api:\n    protocol: https\n"
        yield f'project:\n  name: "demo{end}"\n'
    for odd in (
        "\0",
        "\x01",
        "\x1b",
        "\x7f",
        "\x9f",
        "\ufeff",
        "\u200b",
        "\u00a0",
        "\u3000",
        "\t",
        "\ufffe",
        "\ud800",
    ):
        yield f"project:\n  name: demo{odd}\n"


def _others() -> Iterator[str]:
    """Other settings that decide where the token goes, and keys that nobody knows."""
    for key, value in product(
        ("core", "Core", "houston", "astrohub", "public_astrohub", "new"), (EVIL, "https://evil.example/v1")
    ):
        yield f"local:\n  {key}: {value}\n"
    yield "local:\n  platform: software\n"
    yield "local:\n  registry: evil.example\n"
    yield "cloud:\n  api:\n    port: 8443\n"
    yield "cloud:\n  api:\n    ws_protocol: ws\n"
    yield "cloud:\n  api:\n    token: x\n"
    yield "cloud:\n  api:\n    host: evil.example\n"
    yield "cloud:\n  domain: evil.example\n"
    yield "cloud: evil.example\n"
    yield "cloud:\n  - evil.example\n"
    yield "context: evil.example\n"
    yield "CONTEXT: evil.example\n"
    yield "contexts:\n  astronomer_io:\n    domain: evil.example\n"
    yield "contexts:\n  astronomer_io:\n    token: Bearer x\n"
    yield "unknown: x\n"
    yield "project:\n  unknown: x\n"
    yield "project: x\n"
    yield "api-server:\n  url: x\n"


def _programs() -> Iterator[str]:
    """Programs of the checkout, and a build that is given the token."""
    for path in ("./evil", "bin/docker", "../evil", "/builds/evil", ".\\evil"):
        yield f"container:\n  binary: {path}\n"
        yield f"container:\n  binary: '{path}'\n"
    yield "container:\n  binary:\n    - docker\n"
    yield "dev:\n  build_secrets: id=t,env=ASTRO_API_TOKEN\n"
    yield "dev:\n  build_secrets:\n    - id=t,env=ASTRO_API_TOKEN\n"


def _encodings() -> Iterator[bytes]:
    text = _nested(f" {EVIL}")
    for encoding in (
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "utf-32-le",
        "utf-32-be",
        "utf-8-sig",
        "utf-7",
    ):
        data = text.encode(encoding)
        yield data if encoding != "utf-7" else b"\xff" + data
    yield b"# \xff\n" + text.encode()
    yield b"# \xc0\xaf\n" + text.encode()
    yield b"project:\n  name: \xed\xa0\x80\n"


# -- any number of files ------------------------------------------------------------------------------

# Spellings of a key ({0}), with whatever follows up to the value.
_KEY_FORMS = (
    "{0}:", "{0} :", '"{0}":', "'{0}':", "!!str {0}:", "! {0}:", "&k{1} {0}:", "? {0}\n{2}:", "? '{0}'\n{2}:",
    "!<tag:yaml.org,2002:str> {0}:", "? >-\n{2}  {0}\n{2}:", "? !!str\n{2}  {0}\n{2}:",
)  # fmt: skip
_VALUE_FORMS = (
    "{0}", "'{0}'", '"{0}"', "!!str {0}", "&v {0}", "! '{0}'", "|-\n{1}{0}", ">-\n{1}{0}", "|\n{1}{0}",
    "\n{1}{0}", "\n{1}'{0}'", "# x\n{1}{0}", "!!str # x\n{1}{0}", "&v\n{1}{0}", "{0} # https", "*e", '"{2}"',
    "{{x: {0}}}", "['{0}']", "!!binary {3}", "https", "https\n{1}{0}", "'https\n\n{1}{0}'", "[*e]", "!!null",
)  # fmt: skip
_BEFORE = (
    "", "---\n", "%YAML 1.2\n---\n", "# x\n", "e: &e {0}\n", "project:\n  name: &e {0}\n", "\ufeff",
    "--- # x\n", "cloud:\n  api:\n    protocol: https\n", "project: {{}}\n", "\n\n", "x: |\n  y\n", "? x\n",
    "- x\n", "Cloud: {{}}\n", "cloud: &e {{api: {{protocol: '{0}'}}}}\n", "--- !!map\n", "--- &a\n",
    "? [a, b]\n: c\n",
)  # fmt: skip
_AFTER = (
    "", "...\n", "project:\n  name: demo\n", "cloud:\n  api:\n    protocol: https\n", "---\na: b\n", "# x",
    "...\n---\na: b\n", "Cloud:\n  Api:\n    protocol: https\n", "CLOUD: *e\n", "<<: *e\n",
    "'<<': {{cloud: *e}}\n",
)  # fmt: skip
_ENDS = ("\n", "\r\n", "\r", "\x85", "\u2028")
_NOISE = "\n\r\t :#-?'\"&*!|>%@`{}[],<=~\\.\0\x85\u2028\ufeff\u00a0\u212aabkKhtps019"


def combined(choose: random.Random) -> bytes:
    """A file of randomly chosen forms, most of which are YAML, and many of which redirect the Astro CLI."""
    address = choose.choice((EVIL, "http", "HTTPS", "x", "https://evil.example/?"))
    escaped = "".join(f"\\x{ord(letter):02x}" if choose.random() < 0.5 else letter for letter in address)
    names = [_case(choose, name) for name in ("cloud", "api", "protocol")]
    value = choose.choice(_VALUE_FORMS).format(address, " " * 8, escaped, "aHR0cA==")
    shape = choose.randrange(6)
    if shape == 0:
        text = f"{names[0]}: {{{names[1]}: {{{names[2]}: '{address}'}}}}\n"
    elif shape == 1:
        text = f"{choose.choice(_KEY_FORMS).format('.'.join(names), 1, '')} {value}\n"
    elif shape == 2:
        text = f"{names[0]}:\n  <<: {{{names[1]}: {{{names[2]}: '{address}'}}}}\n"
    else:
        text = ""
        for depth, name in enumerate(names):
            blanks = "  " * depth
            text += f"\n{blanks}" + choose.choice(_KEY_FORMS).format(name, depth, blanks)
        text = f"{text[1:]} {value}\n"
    before = choose.choice(_BEFORE) if choose.random() < 0.5 else ""
    after = choose.choice(_AFTER) if choose.random() < 0.5 else ""
    text = before.format(address) + text + after.format(address)
    if choose.random() < 0.1:
        text = text.replace("\n", choose.choice(_ENDS))
    if choose.random() < 0.05:
        return text.encode(choose.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig")))
    return text.encode()


def _case(choose: random.Random, name: str) -> str:
    return choose.choice((name, name, name, name.upper(), name.title(), name.replace("k", "\u212a")))


def mutated(data: bytes, choose: random.Random) -> bytes:
    """A file with a few characters or lines changed."""
    text = data.decode("utf-8", "replace")
    for _ in range(choose.randint(1, 4)):
        at = choose.randint(0, len(text))
        kind = choose.randrange(4)
        if kind == 0:
            text = text[:at] + choose.choice(_NOISE) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + choose.randint(1, 3) :]
        elif kind == 2:
            lines = text.split("\n")
            line = choose.randrange(len(lines))
            lines.insert(choose.randint(0, len(lines)), lines[line])
            text = "\n".join(lines)
        else:
            lines = text.split("\n")
            line = choose.randrange(len(lines))
            lines[line] = choose.choice(("", " ", "  ", "    ", "- ", "? ", ": ")) + lines[line].lstrip(" ")
            text = "\n".join(lines)
    return text.encode("utf-8", "replace")


PROJECTS = (
    "",
    "# nothing\n",
    "---\n",
    "project:\n",
    "project: {}\n",
    "project: ~\n",
    "project:\n  name: ''\n",
    "--- # of demo\nproject:\n  name: demo\n",
    "\n\n# a\n\nproject:\n\n  # b\n  name: demo\n\n",
    "project:\n  name: demo\ncloud:\n  api:\n    protocol: https\n    port: 443\n    ws_protocol: wss\n",
    "cloud:\n  api:\n    protocol: \"https\" # the default\n    port: '443'\n",
    "cloud:\n  api:\n    protocol: 'https'\n",
    "Cloud:\n  API:\n    Protocol: https\n",
    "cloud: {}\n",
    "cloud:\n  api: {}\n",
    "local:\n  core: http://localhost:8888\n",
    'local:\n  core: http://localhost:8888/v1alpha1\n  platform: cloud\n  houston: ""\n',
    'context: ""\ncontexts: {}\n',
    "remote:\n  base_image_registry: images.astronomer.cloud\n",
    "local:\n  registry: localhost:5555\n",
    "remote:\n  base_image_registry: registry.example.com/images\n  client_registry: example.com:5000\n",
    "dev:\n  build_secrets:\n    - id=pip,src=pip.conf\n    - id=x,env=PIP_TOKEN\n",
    "dev:\n  build_secrets:\n  - id=pip,src=pip.conf # a\n  - 'id=x'\n  mode: standalone\n",
    "dev:\n  build_secrets: []\n",
    "container:\n  binary: podman\n",
    "container:\n    binary: docker\n",
    "project:\n  name: démo-日本\n",
    "project:\r\n  name: demo\r\n",
    "  project:\n    name: demo\n  verbosity: info\n",
    "project:\n name: demo # the name\n deployment: cldep0\n",
    "'project':\n  \"name\": demo\n",
    "project:\n  name: a#b\n  deployment: 'cl # no comment'\n",
    "airflow:\n  expose_port: true\nwebserver:\n  port: 8081\n",
)


def harmless() -> Iterator[bytes]:
    """At least 100 different files as the Astro CLI and people write them."""
    for text in PROJECTS:
        yield text.encode()
    settings = (
        ("airflow", "expose_port", "true"),
        ("api-server", "port", "8081"),
        ("cosmos_boost", "pre_deploy", "false"),
        ("deploy", "git_metadata", "true"),
        ("dev", "mode", "docker"),
        ("houston", "dial_timeout", "10"),
        ("machine", "memory", "4096"),
        ("otto", "auto_update", "true"),
        ("postgres", "host", "postgres"),
        ("postgres", "repository", "docker.io/postgres"),
        ("postgres", "tag", "12.6"),
        ("proxy", "port", "6563"),
        ("project", "name", "etl-2_prod"),
        ("project", "deployment", "clxyz0123456789"),
        ("ruff", "image", "ghcr.io/astral-sh/ruff:latest"),
        ("telemetry", "enabled", "false"),
        ("telemetry", "anonymous_id", "0b0e7b4e-95c1-4a4f-8f0b-1f4f3a1d6a31"),
        ("webserver", "port", "8080"),
    )
    forms = (
        "{0}:\n    {1}: {2}\n",
        '{0}:\n  {1}: "{2}"\n',
        "# {0}\n{0}:\n  {1}: '{2}' # {2}\n",
        "---\n{0}:\n    {1}:    {2}  \n",
    )
    for (section, key, value), form in product(settings, forms):
        yield form.format(section, key, value).encode()
    top = (
        "auto_select",
        "disable_astro_run",
        "duplicate_volumes",
        "page_size",
        "sha_as_tag",
        "skip_parse",
        "verbosity",
    )
    for key in top:
        yield f"{key}: false\n".encode()
        yield f"project:\n  name: demo\n{key}: warning\n".encode()
