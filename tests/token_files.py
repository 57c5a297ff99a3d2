"""Kinds of file in which people leave a token. Each function makes one; its name is the kind."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import quopri
import tarfile
import textwrap
import uuid
import zipfile
import zlib
from collections.abc import Callable
from html import escape
from typing import TypeVar
from urllib.parse import quote

Maker = TypeVar("Maker", bound=Callable[[str], str | bytes])
DETECTED: dict[str, Callable[[str], str | bytes]] = {}
UNDETECTED: dict[str, Callable[[str], str | bytes]] = {}  # docs/pre-commit.md lists them


def detected(make: Maker) -> Maker:
    DETECTED[make.__name__] = make
    return make


def undetected(make: Maker) -> Maker:
    UNDETECTED[make.__name__] = make
    return make


def pieces(text: str, count: int = 3) -> list[str]:
    width = -(-len(text) // count)
    return lines(text, width)


def lines(text: str, width: int = 76) -> list[str]:
    return [text[at : at + width] for at in range(0, len(text), width)]


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def join(before: str, texts: list[str], after: str = "\n") -> str:
    return "".join(f"{before}{text}{after}" for text in texts)


# -- settings -------------------------------------------------------------------------------------------


@detected
def env_file(token: str) -> str:
    return f"A=1\nASTRO_API_TOKEN={token}\nB=2\n"


@detected
def env_file_quoted(token: str) -> str:
    return f"ASTRO_API_TOKEN='{token}' # production\n"


@detected
def env_file_with_a_variable_for_each_piece(token: str) -> str:
    return "".join(f"ASTRO_API_TOKEN_PIECE_{n}={piece}\n" for n, piece in enumerate(pieces(token, 4)))


@detected
def json_file(token: str) -> str:
    return json.dumps({"a": [1], "astro": {"token": token, "b": None}}, indent=2)


@detected
def json_in_json(token: str) -> str:
    return json.dumps({"SecretString": json.dumps({"token": token})})


@detected
def json_in_json_in_json(token: str) -> str:
    return json.dumps({"body": json_in_json(f"{token}\n")})


@detected
def json_with_every_character_escaped(token: str) -> str:
    return '{"token": "' + "".join(f"\\u{ord(character):04x}" for character in token) + '"}'


@detected
def json_with_dots_escaped(token: str) -> str:
    return '{"token": "' + token.replace(".", "\\u002E") + '"}'


@detected
def json_list_of_lines(token: str) -> str:
    return json.dumps({"token": lines(token, 64)}, indent=1)


@detected
def yaml_plain(token: str) -> str:
    return f"astro:\n  token: {token}\n"


@detected
def yaml_quoted(token: str) -> str:
    return f'astro: {{token: "{token}", a: b}}\n'


@detected
def yaml_literal_block(token: str) -> str:
    return "token: |\n" + join("    ", lines(token)) + "other: x\n"


@detected
def yaml_folded_block(token: str) -> str:
    return "token: >-\n" + join("  ", lines(token, 60)) + "other: x\n"


@detected
def yaml_plain_in_lines(token: str) -> str:
    return "token:\n" + join("  ", pieces(token, 5)) + "other: x\n"


@detected
def yaml_double_quoted_continued(token: str) -> str:
    return 'token: "' + "\\\n  ".join(lines(token)) + '"\n'


@detected
def yaml_list_of_pieces(token: str) -> str:
    return "token_parts:\n" + join("  - ", pieces(token)) + "other: x\n"


@detected
def yaml_list_of_parts_without_dots(token: str) -> str:
    return "token_parts:\n" + join('  - "', token.split("."), '"\n') + "other: x\n"


@detected
def yaml_binary(token: str) -> str:
    return "token: !!binary |\n" + join("  ", lines(b64(token)))


@detected
def toml(token: str) -> str:
    return f'[tokens.prod]\nvalue = "{token}"\n'


@detected
def toml_multiline(token: str) -> str:
    return 'value = """\\\n' + join("  ", lines(token), " \\\n") + '"""\n'


@detected
def ini(token: str) -> str:
    return f"[astro]\ntoken: {token}\n; end\n"


@detected
def java_properties_continued(token: str) -> str:
    return "astro.token=" + "\\\n    ".join(lines(token)) + "\n"


@detected
def windows_ini_in_utf16(token: str) -> bytes:
    return ini(token).replace("\n", "\r\n").encode("utf-16")


@detected
def utf16_big_endian(token: str) -> bytes:
    return b"\xfe\xff" + env_file(token).encode("utf-16-be")


@detected
def utf32(token: str) -> bytes:
    return env_file(token).encode("utf-32")


@detected
def utf16_in_lines(token: str) -> bytes:
    return "\r\n".join(lines(token)).encode("utf-16")


@detected
def windows_line_ends(token: str) -> str:
    return "[x]\r\n" + "\r\n".join(lines(token, 64)) + "\r\n"


@detected
def old_mac_line_ends(token: str) -> str:
    return "x\r" + "\r".join(lines(token, 64)) + "\r"


@detected
def netrc(token: str) -> str:
    return f"machine api.astronomer.io login x password {token}\n"


@detected
def npmrc(token: str) -> str:
    return f"//registry.example.com/:_authToken={token}\n"


@detected
def git_config_extraheader(token: str) -> str:
    return f'[http "https://api.astronomer.io"]\n\textraheader = AUTHORIZATION: bearer {token}\n'


@detected
def git_config_basic_header(token: str) -> str:
    return f"[http]\n\textraheader = AUTHORIZATION: basic {b64(f'x-access-token:{token}')}\n"


@detected
def git_remote_url(token: str) -> str:
    return f'[remote "origin"]\n\turl = https://oauth2:{token}@git.example.com/a/b.git\n'


@detected
def astro_config_yaml(token: str) -> str:
    return f"contexts:\n  astronomer_io:\n    token: Bearer {token}\n    workspace: clws\n"


@detected
def airflow_connection_uri(token: str) -> str:
    return f"AIRFLOW_CONN_ASTRO='http://:{token}@api.astronomer.io/?x=%2F'\n"


# -- builds and infrastructure --------------------------------------------------------------------------


@detected
def dockerfile_env(token: str) -> str:
    return f"FROM x\nENV ASTRO_API_TOKEN={token} \\\n    A=b\n"


@detected
def dockerfile_arg(token: str) -> str:
    return f'FROM x\nARG ASTRO_API_TOKEN="{token}"\n'


@detected
def docker_compose(token: str) -> str:
    return f"services:\n  a:\n    environment:\n      - ASTRO_API_TOKEN={token}\n"


@detected
def docker_config_auth(token: str) -> str:
    return json.dumps({"auths": {"images.astronomer.cloud": {"auth": b64(f"cli:{token}")}}})


@detected
def makefile(token: str) -> str:
    return f"export ASTRO_API_TOKEN := {token}\ndeploy:\n\tastro deploy\n"


@detected
def terraform(token: str) -> str:
    return f'variable "token" {{\n  default = "{token}"\n}}\n'


@detected
def terraform_heredoc(token: str) -> str:
    return "token = <<-EOT\n" + join("    ", lines(token)) + "  EOT\n"


@detected
def terraform_join(token: str) -> str:
    return 'token = join("", [\n' + join('  "', lines(token, 100), '",\n') + "])\n"


@detected
def terraform_state(token: str) -> str:
    return json.dumps({"resources": [{"instances": [{"attributes": {"api_token": token}}]}]}, indent=2)


@detected
def kubernetes_secret(token: str) -> str:
    return f"kind: Secret\ndata:\n  token: {b64(token)}\n"


@detected
def kubernetes_secret_of_env_file(token: str) -> str:
    return f"kind: Secret\ndata:\n  .env: {b64(env_file(token))}\n"


@detected
def kubernetes_secret_in_lines(token: str) -> str:
    return "data:\n  token: >-\n" + join("    ", lines(b64(token), 64))


@detected
def kubernetes_secret_encoded_twice(token: str) -> str:
    return f"data:\n  values: {b64('a: b' + kubernetes_secret(token))}\n"


@detected
def kubernetes_last_applied(token: str) -> str:
    return "metadata:\n  annotations:\n    last-applied: |\n      " + json.dumps({"data": {"a": b64(token)}})


@detected
def helm_values(token: str) -> str:
    return f"env:\n  - name: ASTRO_API_TOKEN\n    value: {token}\n"


@detected
def ansible(token: str) -> str:
    return f"- shell: astro deploy\n  environment: {{ ASTRO_API_TOKEN: '{token}' }}\n"


@detected
def cloud_init(token: str) -> str:
    return f"#cloud-config\nwrite_files:\n- encoding: b64\n  content: {b64(env_file(token))}\n"


@detected
def systemd_unit(token: str) -> str:
    return f'[Service]\nEnvironment="ASTRO_API_TOKEN={token}"\n'


@detected
def github_workflow(token: str) -> str:
    return f"jobs:\n  a:\n    env:\n      ASTRO_API_TOKEN: {token}\n"


@detected
def gitlab_ci(token: str) -> str:
    return f"variables:\n  ASTRO_API_TOKEN:\n    value: '{token}'\n"


@detected
def circleci(token: str) -> str:
    return f"jobs:\n  a:\n    steps:\n      - run: |\n          export ASTRO_API_TOKEN={token}\n"


@detected
def jenkinsfile(token: str) -> str:
    return f"pipeline {{\n  environment {{ ASTRO_API_TOKEN = '{token}' }}\n}}\n"


@detected
def jenkinsfile_concatenated(token: str) -> str:
    return "def token = '" + "' +\n    '".join(lines(token)) + "'\n"


# -- scripts --------------------------------------------------------------------------------------------


@detected
def shell_export(token: str) -> str:
    return f"#!/bin/sh\nexport ASTRO_API_TOKEN={token}\n"


@detected
def shell_continuation(token: str) -> str:
    return "export ASTRO_API_TOKEN=" + "\\\n".join(lines(token)) + "\n"


@detected
def shell_appended(token: str) -> str:
    return 't=""\n' + join('t+="', pieces(token, 6), '"\n')


@detected
def shell_quotes_side_by_side(token: str) -> str:
    return "t=" + "".join(f'"{piece}"' for piece in pieces(token)) + "\n"


@detected
def shell_heredoc_of_base64(token: str) -> str:
    return "base64 -d <<'EOF' > .env\n" + join("", lines(b64(env_file(token)))) + "EOF\n"


@detected
def shell_printf_escapes(token: str) -> str:
    return "printf '" + "".join(f"\\x{ord(character):02x}" for character in token) + "'\n"


@detected
def shell_history(token: str) -> str:
    return f": 1700000000:0;ASTRO_API_TOKEN={token} astro deploy clx\n"


@detected
def curl_command(token: str) -> str:
    return f"curl -H 'Authorization: Bearer {token}' \\\n  https://api.astronomer.io\n"


@detected
def powershell(token: str) -> str:
    return f'$env:ASTRO_API_TOKEN = "{token}"\r\n'


@detected
def powershell_concatenated(token: str) -> str:
    return "$token = '" + "' + `\r\n  '".join(lines(token)) + "'\r\n"


@detected
def powershell_encoded_command(token: str) -> str:
    return "powershell -EncodedCommand " + b64(powershell(token).encode("utf-16-le"))


@detected
def cmd_set(token: str) -> str:
    return f"@echo off\r\nset ASTRO_API_TOKEN={token}\r\n"


@detected
def cmd_continuation(token: str) -> str:
    return "set ASTRO_API_TOKEN=" + "^\r\n".join(lines(token)) + "\r\n"


# -- programs -------------------------------------------------------------------------------------------


@detected
def python_string(token: str) -> str:
    return f'TOKEN = "{token}"\n'


@detected
def python_strings_side_by_side(token: str) -> str:
    return "TOKEN = (\n" + join('    "', pieces(token), '"\n') + ")\n"


@detected
def python_strings_in_one_line(token: str) -> str:
    return "TOKEN = " + " ".join(f"'{piece}'" for piece in pieces(token)) + "\n"


@detected
def python_f_strings(token: str) -> str:
    return "TOKEN = (\n" + join('    f"', lines(token), '"\n') + ")\n"


@detected
def python_bytes(token: str) -> str:
    return "TOKEN = b'" + "' \\\n    b'".join(lines(token)) + "'\n"


@detected
def python_list_joined_by_dots(token: str) -> str:
    return f'TOKEN = ".".join({token.split(".")!r})\n'


@detected
def python_parts_in_short_lines(token: str) -> str:
    texts = [text for part in token.split(".") for text in [*lines(part, 40), "."]][:-1]
    return "TOKEN = (\n" + join('    f"', texts, '"\n') + ")\n"


@detected
def python_plus_equals(token: str) -> str:
    return 'authorization_header_value = ""\n' + join('authorization_header_value += "', lines(token), '"\n')


@detected
def python_hexadecimal_bytes(token: str) -> str:
    return f'TOKEN = bytes.fromhex("{token.encode().hex()}")\n'


@detected
def java(token: str) -> str:
    return 'String token = "' + '"\n    + "'.join(pieces(token)) + '";\n'


@detected
def java_string_builder(token: str) -> str:
    return join('    authorizationBuilder.append("', lines(token), '");\n')


@detected
def javascript(token: str) -> str:
    return "const token = '" + "' +\n  '".join(pieces(token)) + "';\n"


@detected
def javascript_template(token: str) -> str:
    return f"const headers = {{ authorization: `Bearer ${{''}}{token}` }};\n"


@detected
def go(token: str) -> str:
    return 'const token = "' + '" +\n\t"'.join(pieces(token)) + '"\n'


@detected
def c_strings(token: str) -> str:
    return "static const char token[] =\n" + join('    "', lines(token, 70), '"\n') + ";\n"


@detected
def c_array(token: str) -> str:
    numbers = [f"0x{byte:02X}" for byte in token.encode()]
    return "char token[] = {\n" + textwrap.fill(", ".join(numbers), 78, initial_indent="  ") + "\n};\n"


@detected
def sql_dump(token: str) -> str:
    return f"COPY `variable` VALUES (1,'astro_token','{token}',0,NULL),(2,'x','y',0,NULL);\n"


@detected
def sql_dump_of_bytes(token: str) -> str:
    return f"COPY variable VALUES (1, '\\x{token.encode().hex()}', X'{token.encode().hex().upper()}');\n"


@detected
def decimal_numbers(token: str) -> str:
    return ", ".join(map(str, token.encode()))


@detected
def octal_escapes(token: str) -> str:
    return "printf '" + "".join(f"\\{byte:03o}" for byte in token.encode()) + "'\n"


# -- documents and records of requests ------------------------------------------------------------------


@detected
def markdown_code(token: str) -> str:
    return f"Run:\n\n```sh\nASTRO_API_TOKEN={token} astro deploy\n```\n"


@detected
def markdown_quote(token: str) -> str:
    return "> The token is\n" + join("> ", lines(token)) + "\n"


@detected
def html(token: str) -> str:
    return "<pre>" + escape(f'token="{token}"') + "</pre>\n"


@detected
def html_with_break_points(token: str) -> str:
    return "<td>" + "<wbr>".join(pieces(token, 8)) + "</td>\n"


@detected
def html_with_entities(token: str) -> str:
    return "<p>" + token.replace(".", "&#46;").replace("_", "&#x5F;").replace("-", "&#045;") + "</p>\n"


@detected
def markdown_with_escapes(token: str) -> str:
    return "the token is " + token.replace("_", "\\_").replace(".", "\\.").replace("-", "\\-") + "\n"


@detected
def xml(token: str) -> str:
    return f'<settings><env name="ASTRO_API_TOKEN">\n  <![CDATA[{token}]]></env></settings>\n'


@detected
def csv(token: str) -> str:
    return f'name,token,until\nprod,"{token}",2027-01-01\n'


@detected
def notebook(token: str) -> str:
    source = [
        "import os\n",
        "os.environ['ASTRO_API_TOKEN'] = (\n",
        *(f"    '{p}'\n" for p in lines(token)),
        ")",
    ]
    return json.dumps({"cells": [{"cell_type": "code", "source": source}]}, indent=1)


@detected
def notebook_output(token: str) -> str:
    output = {"output_type": "stream", "text": [f"{line}\n" for line in lines(token, 80)]}
    return json.dumps({"cells": [{"outputs": [output]}]}, indent=1)


@detected
def url_query(token: str) -> str:
    return f"GET /?a=b&token={quote(token).replace('.', '%2E')}&c=d HTTP/1.1\n"


@detected
def url_with_every_byte_encoded(token: str) -> str:
    return "token=" + "".join(f"%{byte:02X}" for byte in token.encode()) + "\n"


@detected
def url_encoded_twice(token: str) -> str:
    return "next=/login%3Ftoken%3D" + token.replace(".", "%252e") + "%26a\n"


@detected
def har(token: str) -> str:
    header = {"name": "Authorization", "value": f"Bearer {token}"}
    return json.dumps({"log": {"entries": [{"request": {"headers": [header]}}]}})


@detected
def postman_collection(token: str) -> str:
    return json.dumps({"auth": {"type": "bearer", "bearer": [{"key": "token", "value": token}]}}, indent="\t")


@detected
def recorded_request(token: str) -> str:
    return "interactions:\n- request:\n    headers:\n      Authorization:\n      - Bearer " + token + "\n"


@detected
def cookie_jar(token: str) -> str:
    return f"#HttpOnly_.astronomer.io\tTRUE\t/\tTRUE\t0\ttoken\t{token}\n"


@detected
def email_quoted(token: str) -> str:
    return "On Monday she wrote:\n" + join("> > ", lines(token, 70))


@detected
def email_quoted_printable(token: str) -> bytes:
    return quopri.encodestring(f"token={token}\n".encode())


@detected
def email_base64(token: str) -> str:
    return "Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(f"Hi,\n{token}\n".encode()).decode()


@detected
def pem_like_block(token: str) -> str:
    return "-----BEGIN TOKEN-----\n" + join("", lines(token, 64)) + "-----END TOKEN-----\n"


# -- output of programs ---------------------------------------------------------------------------------


@detected
def wrapped_at_80(token: str) -> str:
    return "$ env\nASTRO_API_TOKEN=" + "\n".join(lines(token, 80)) + "\n$\n"


@detected
def log_with_timestamps(token: str) -> str:
    return "".join(
        f"2026-11-30T08:15:{number:02}.1234567Z {text}\n" for number, text in enumerate(lines(token))
    )


@detected
def log_with_streams(token: str) -> str:
    return "".join(
        f"2026-11-30 08:15:07,{number:03} | stderr | {text}\n" for number, text in enumerate(lines(token))
    )


@detected
def log_of_containers(token: str) -> str:
    return join("scheduler-7d9f8b6c5d-x2x4z-airflow | ", lines(token, 60))


@detected
def log_with_an_id_on_each_line(token: str) -> str:
    return "".join(f"{uuid.uuid4()} {text}\n" for text in lines(token))


@detected
def log_of_base64_with_an_id_on_each_line(token: str) -> str:
    return "".join(f"{uuid.uuid4()} {text}\n" for text in lines(b64(env_file(token))))


@detected
def log_of_base64(token: str) -> str:
    return join("[2026-11-30 08:15:07] INFO - ", lines(b64(env_file(token))))


@detected
def line_numbers(token: str) -> str:
    return "".join(f"{number:4}: {text}\n" for number, text in enumerate(lines(token), 8))


@detected
def table_with_borders(token: str) -> str:
    return join("│ token │ ", lines(token, 50), " │\n")


@detected
def diff_added(token: str) -> str:
    return "--- a/x\n+++ b/x\n@@ -0,0 +1,9 @@\n+token: >-\n" + join("+", lines(token))


@detected
def diff_removed(token: str) -> str:
    return "--- a/x\n+++ b/x\n@@ -1,9 +0,0 @@\n-x:\n" + join("-", lines(token)) + " end\n"


@detected
def colours(token: str) -> str:
    return "".join(f"\x1b[1;3{number % 8}m{text}\x1b[0m" for number, text in enumerate(lines(token, 40)))


@detected
def colours_in_a_json_log(token: str) -> str:
    return json.dumps({"log": colours(token), "stream": "stdout"})


@detected
def docker_json_log(token: str) -> str:
    return "".join(
        json.dumps({"log": f"{line}\n", "stream": "stderr", "time": f"2026-11-30T08:15:07.1234567{n:02}Z"})
        + "\n"
        for n, line in enumerate(lines(token))
    )


@detected
def hexadecimal(token: str) -> str:
    return token.encode().hex() + "\n"


@detected
def hexadecimal_in_lines(token: str) -> str:
    return join("", lines(token.encode().hex().upper(), 60))


@detected
def hexadecimal_with_colons(token: str) -> str:
    return join("    ", lines(token.encode().hex(":"), 45))


@detected
def hex_dump(token: str) -> str:
    text = ""
    for at, part in enumerate(lines(token, 16)):
        text += f"{at * 16:08x}: {part.encode().hex(' ', 2):40} {part}\n"
    return text


@detected
def binary_file(token: str) -> bytes:
    return b"\x7fELF\0\xff" + token.encode() + b"\xff\0\x80"


@detected
def tar_file(token: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        content = env_file(token).encode()
        member = tarfile.TarInfo(".env")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


# -- undetected -----------------------------------------------------------------------------------------


@undetected
def gzip_file(token: str) -> bytes:
    return gzip.compress(env_file(token).encode())


@undetected
def zip_file(token: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(".env", env_file(token))
    return file.getvalue()


@undetected
def bzip2_file(token: str) -> bytes:
    return bz2.compress(env_file(token).encode())


@undetected
def compressed_in_base64(token: str) -> str:
    return b64(zlib.compress(token.encode()))


@undetected
def base64_three_times(token: str) -> str:
    return b64(b64(b64(token)))


@undetected
def hexadecimal_of_base64(token: str) -> str:
    return b64(token).encode().hex(" ", 2)


@undetected
def base32(token: str) -> str:
    return base64.b32encode(token.encode()).decode()


@undetected
def pieces_in_another_order(token: str) -> str:
    first, second, third = pieces(token)
    return f'c = "{third}"\nb = "{second}"\na = "{first}"\ntoken = a + b + c\n'


@undetected
def pieces_of_few_characters(token: str) -> str:
    return "token = " + " + ".join(f'"{text}"' for text in lines(token, 8)) + "\n"


@undetected
def log_with_a_long_id_on_each_line(token: str) -> str:
    return "".join(f"request-{number:064} {text}\n" for number, text in enumerate(lines(token)))


@undetected
def encrypted(token: str) -> bytes:
    return bytes(byte ^ 0x5A for byte in token.encode())


@undetected
def first_of_two_files(token: str) -> str:
    return f"token = {token[: len(token) // 2]}\n"


@undetected
def second_of_two_files(token: str) -> str:
    return f"token = {token[len(token) // 2 :]}\n"
