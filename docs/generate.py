"""Pages of the documentation that are made from the rules, the report's schema and the command line.

``python -m docs.generate`` writes docs/causes/*.md, docs/json.md and docs/commands.md; with ``--check`` it only says
which are not what they would be (exit status 1). The test suite checks them.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from evtx_analyzer.cli import app
from evtx_analyzer.commands import Step
from evtx_analyzer.model.findings import Grade
from evtx_analyzer.report.document import report_schema
from evtx_analyzer.rules import Rules
from evtx_analyzer.rules.definitions import Cause, MissingRule, Observation

DOCS = Path(__file__).parent
_SHELL_NAMES = {
    "exchange-online": "in Exchange Online PowerShell (`Connect-ExchangeOnline`)",
    "exchange": "in the Exchange Management Shell",
    "windows": "in an elevated PowerShell on the server",
}
_SERVER_NAMES = {"exchange": "Where Exchange sends the mail: ", "iis": "Where IIS SMTP sends the mail: "}
_PLACEHOLDER = re.compile(r"\$(?:\{([a-z_]+)\}|([a-z_]+))")
_GRADES: tuple[Grade, ...] = ("confirmed", "probable", "possible", "coincident", "contradicted")


def pages() -> dict[str, str]:
    """Return every generated page: its path below docs/, and its text."""
    causes = sorted(Rules.load().causes, key=lambda cause: (cause.rank, cause.id))
    made = {f"causes/{cause.id}.md": _cause_page(cause) for cause in causes}
    return {
        "causes/index.md": _index(causes),
        **made,
        "json.md": _schema_page(report_schema()),
        "commands.md": _commands_page(),
    }


# ------------------------------------------------------------------------------------------------------------ causes


def _index(causes: Iterable[Cause]) -> str:
    rows = [f"| [{cause.id}]({cause.id}.md) | {cause.title} |" for cause in causes]
    names = "\n".join(cause.id for cause in causes)
    return "\n".join(
        [
            "# Causes",
            "",
            "What a report can name, in the order in which equal grades are listed. The pages are made from the rules",
            "(`python -m docs.generate`), so they say what the program does.",
            "",
            "| cause | what it is |",
            "|---|---|",
            *rows,
            "",
            "```{toctree}",
            ":hidden:",
            "",
            names,
            "```",
            "",
        ]
    )


def _cause_page(cause: Cause) -> str:
    supports = [item for item in cause.observations if item.supports]
    against = [item for item in cause.observations if item.contradicts]
    parts = [
        f"# {cause.title}",
        "",
        f"`{cause.id}`",
        "",
        _plain(cause.why),
        "",
        *_section("What the logs show", (f"- **{item.name}**: {_plain(item.supports)}" for item in supports)),
        *_section("How strongly that supports it", _grades(cause)),
        *_section("What speaks against it", dict.fromkeys(f"- {_against(item)}" for item in against)),
        *_section("What to collect where it is missing", _missing(cause.missing)),
        *_section("The fix", _steps(cause.steps)),
        *_section("How to see that it worked", _steps(cause.verify)),
        *_section("What `evtx-analyzer verify` looks for", _repair(cause)),
        *_section("Sources", (f"- {_linked(item)}" for item in cause.references)),
    ]
    return "\n".join(parts)


def _section(title: str, lines: Iterable[str]) -> list[str]:
    """Return a section; none where it would be empty."""
    body = list(lines)
    return [f"## {title}", "", *body, ""] if body else []


def _grades(cause: Cause) -> Iterator[str]:
    """Yield a line for each grade that observations reach; a group needs all of its observations."""
    for grade in _GRADES:
        groups = cause.grades.get(grade, ())
        if groups:
            named = "; or ".join(" and ".join(group) for group in groups)
            yield f"- **{grade}**: {named}"


def _against(item: Observation) -> str:
    effect = "the cause is impossible then" if item.excludes else "`possible` at most then" if item.caps else ""
    text = _plain(item.contradicts)
    return f"{text} ({effect})" if effect else text


def _missing(rules: Iterable[MissingRule]) -> Iterator[str]:
    for rule in rules:
        yield f"- {_plain(rule.text)}"
        yield from (f"  {line}" if line else "" for line in _steps(rule.collect))


def _steps(steps: Iterable[Step]) -> Iterator[str]:
    """Yield sentences as a list, and commands under the shell that they are for.

    A sentence that stands there once more under other conditions, right behind itself, is told once.
    """
    shell = last = ""
    for step in steps:
        server = _SERVER_NAMES.get(step.server, "")
        if step.text:
            shell = ""
            line = f"- {server}{_plain(step.text)}"
            if line != last:
                yield line
            last = line
            continue
        last = ""
        if step.shell and step.shell != shell:
            where = f"{server}{_SHELL_NAMES[step.shell]}:"
            yield f"- {where[0].upper()}{where[1:]}"
        shell = step.shell
        yield ""
        yield "  ```powershell"
        yield from (f"  {_command(line)}" for line in step.lines)
        yield "  ```"
        yield ""


def _repair(cause: Cause) -> Iterator[str]:
    changes = "[changes](../rules.md#causesnameyml-what-the-evidence-means)"
    if cause.repair_confirms:
        yield f"- {changes} that confirm it: {', '.join(f'`{name}`' for name in cause.repair_confirms)}"
    if cause.repair_fits:
        yield f"- changes that repair it, and perhaps something else: {', '.join(f'`{n}`' for n in cause.repair_fits)}"


def _plain(text: str) -> str:
    """Return a sentence with the names of its placeholders in place of values; angle brackets stay text."""
    shown = _PLACEHOLDER.sub(lambda match: f"‹{(match[1] or match[2]).replace('_', ' ')}›", text.replace("$$", "\0"))
    return shown.replace("\0", "$").replace("<", "\\<").replace("\\\\<", "\\<").replace("*", "\\*").strip()


def _command(line: str) -> str:
    shown = _PLACEHOLDER.sub(lambda match: f"<{(match[1] or match[2]).replace('_', ' ')}>", line.replace("$$", "\0"))
    return shown.replace("\0", "$")


def _linked(reference: str) -> str:
    title, _, address = reference.rpartition(": https://")
    return f"[{title}](https://{address})" if title else reference


# -------------------------------------------------------------------------------------------------------------- JSON


def _schema_page(schema: Mapping[str, Any]) -> str:
    definitions = schema["$defs"]
    order = list(_reachable(schema["$ref"].rpartition("/")[2], definitions))
    parts = [
        "# JSON report",
        "",
        "`evtx-analyzer schema` prints the JSON Schema (2020-12). `schema_version` is 1: names are never renamed or",
        "removed while it is, and more may be added, so read what you know and ignore the rest. Times are RFC 3339 in",
        "UTC, thumbprints and result codes upper-case hex without `0x`, and the same input gives the same bytes. A",
        "`null` means that something is not known or not there; a list that is empty was looked for and holds nothing.",
        "",
        "This page is made from the schema (`python -m docs.generate`).",
        "",
    ]
    for name in order:
        definition = definitions[name]
        parts += [f"## {name}", ""]
        if definition.get("description"):
            parts += [_described(definition["description"]), ""]
        parts += ["| key | type |", "|---|---|"]
        parts += [f"| `{key}` | {_type(value)} |" for key, value in definition.get("properties", {}).items()]
        parts += [""]
    return "\n".join(parts)


def _described(text: str) -> str:
    """Return a docstring as Markdown: double backticks are single ones, and lines are joined to paragraphs."""
    paragraphs = [" ".join(part.split()) for part in text.replace("``", "`").split("\n\n")]
    return "\n\n".join(part.replace("<", "\\<") for part in paragraphs)


def _reachable(name: str, definitions: Mapping[str, Any]) -> Iterator[str]:
    """Yield a type and all that it refers to, in the order in which they are first named."""
    waiting, seen = [name], set[str]()
    while waiting:
        current = waiting.pop(0)
        if current in seen:
            continue
        seen.add(current)
        yield current
        waiting += [item.rpartition("/")[2] for item in _references(definitions[current])]


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _type(value: Mapping[str, Any]) -> str:
    """Return the type of a value in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        return " or ".join(_type(item) for item in value["anyOf"])
    if "enum" in value:
        return ", ".join("null" if item is None else f"`{item}`" for item in value["enum"])
    if value.get("type") == "array":
        if "prefixItems" in value:
            return f"[{', '.join(_type(item) for item in value['prefixItems'])}]"
        return f"list of {_type(value.get('items') or {})}"
    if value.get("type") == "object":
        return f"object with values of {_type(value.get('additionalProperties') or {})}"
    return {"date-time": "time"}.get(value.get("format", ""), str(value.get("type", "anything")))


# ---------------------------------------------------------------------------------------------------------- commands


def _commands_page() -> str:
    group = typer.main.get_command(app)
    parts = [
        "# Commands",
        "",
        "Every command also says this with `--help`. `python -m evtx_analyzer` is the same program. This page is made",
        "from the command line (`python -m docs.generate`).",
        "",
    ]
    for name, command in _commands(group, "evtx-analyzer"):
        parts += [f"## {name}", "", *_command_help(name, command)]
    return "\n".join(parts)


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  typer's own command types
    """Yield the program and all of its commands."""
    yield name, command
    for part, below in getattr(command, "commands", {}).items():
        yield from _commands(below, f"{name} {part}")


def _command_help(name: str, command: Any) -> Iterator[str]:  # noqa: ANN401
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option" and not item.hidden]
    words = " ".join(item.metavar or item.name.upper() for item in arguments)
    yield f"    {name} {words} [options]" if words else f"    {name}"
    yield ""
    for paragraph in (command.help or "").split("\n\n"):
        text = " ".join(paragraph.split())
        yield f"    {text}" if text.startswith("evtx-analyzer ") else text.replace("<", "\\<")
        yield ""
    rows = [(item.metavar or item.name.upper(), item.help) for item in arguments if item.help]
    rows += [(_flags(item), item.help or "") for item in options]
    if rows:
        yield "| option | meaning |"
        yield "|---|---|"
        yield from (f"| `{_cell(left)}` | {_cell(right)} |" for left, right in rows)
        yield ""
    if command.epilog:
        yield " ".join(command.epilog.split())
        yield ""


def _flags(option: Any) -> str:  # noqa: ANN401
    names = ", ".join(sorted((*option.opts, *option.secondary_opts), key=len, reverse=True))
    value = option.metavar or option.name.strip("_").upper()
    return names if option.is_flag else f"{names} {value}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# -------------------------------------------------------------------------------------------------------------- main


def main() -> int:
    """Write the pages, or say which differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where a page differs")
    options = parser.parse_args()
    wanted = pages()
    known = {f"causes/{path.name}" for path in (DOCS / "causes").glob("*.md")}
    different = [name for name, text in wanted.items() if _read(DOCS / name) != text]
    stale = sorted(known - set(wanted))
    for name in different if not options.check else ():
        path = DOCS / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted[name], encoding="utf-8", newline="\n")
    for name in stale if not options.check else ():
        (DOCS / name).unlink()
    for name in (*different, *stale):
        sys.stdout.write(f"{'differs' if options.check else 'written'}: docs/{name}\n")
    return 1 if options.check and (different or stale) else 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
