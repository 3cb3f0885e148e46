"""``rules list``, ``check``, ``test``, ``new`` and ``convert`` work on the rule files, never on the cached rule set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evtx_analyzer.cli.app import app
from evtx_analyzer.cli.command import PlainCommand, PlainGroup
from evtx_analyzer.cli.ending import complain
from evtx_analyzer.cli.streams import write_text

rules_app = typer.Typer(cls=PlainGroup, help="List, check, test, make and convert rules.", no_args_is_help=True)
app.add_typer(rules_app, name="rules")
RulesFolder = Annotated[
    Path | None,
    typer.Option(
        "--rules", metavar="DIR", help="Add the rules of this folder; a rule of the same name overrides ours."
    ),
]


@rules_app.command("list", cls=PlainCommand)
def rules_list(rules: RulesFolder = None) -> None:
    """List all signals, links and causes with their titles."""
    from evtx_analyzer.rules import load
    from evtx_analyzer.rules.files import rule_folders

    every = load(*rule_folders(rules))
    rows = [("signal", signal.name, signal.title) for signal in every.signals]
    rows += [("link", link.name, link.title) for link in every.links]
    rows += [("cause", cause.id, cause.title) for cause in every.causes]
    width = max(len(name) for _, name, _ in rows)
    write_text("".join(f"{kind:6}  {name:{width}}  {title}\n" for kind, name, title in rows))


@rules_app.command("check", cls=PlainCommand)
def rules_check(rules: RulesFolder = None) -> None:
    """Check all rule files and report every mistake at once, as file:key: message (exit status 2)."""
    from evtx_analyzer.rules import load
    from evtx_analyzer.rules.files import rule_folders

    every = load(*rule_folders(rules))
    write_text(
        f"{len(every.signals)} signals, {len(every.links)} links, {len(every.causes)} causes: no mistake found\n"
    )


@rules_app.command("test", cls=PlainCommand)
def rules_test(rules: RulesFolder = None) -> None:
    """Run the cases of every rule (cases/signals, cases/links, cases/causes); exit status 1 where one fails."""
    from evtx_analyzer.rule_tools.cases import run_cases
    from evtx_analyzer.rules import load
    from evtx_analyzer.rules.files import rule_folders

    outcomes = run_cases(load(*rule_folders(rules)), rule_folders(rules))
    failed = [outcome for outcome in outcomes if outcome.problem]
    for outcome in failed:
        write_text(f"{outcome.file}:{outcome.case}: {outcome.problem}\n")
    write_text(f"{len(outcomes) - len(failed)} cases passed, {len(failed)} failed\n")
    raise typer.Exit(1 if failed else 0)


@rules_app.command("new", cls=PlainCommand)
def rules_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Id of the cause, such as backup-line-used.")],
    rules: Annotated[Path, typer.Option("--rules", metavar="DIR", help="Folder of rules; it is made if it is new.")],
) -> None:
    """Make the files of a new cause: a signal, the cause, cases for both, German pairs.

    What to write stands in angle brackets. rules test fails until the signal recognizes its cases.
    """
    from evtx_analyzer.rule_tools.new_cause import new_cause

    for path in new_cause(name, rules):
        write_text(f"wrote {path.as_posix()}\n")
    write_text(f"next: fill in what stands in <>, then evtx-analyzer rules test --rules {rules.as_posix()}\n")


@rules_app.command("convert", cls=PlainCommand)
def rules_convert(
    target: Annotated[
        str,
        typer.Option(
            "--target", metavar="SIEM", help="sentinel, splunk, or another pySigma backend that is installed."
        ),
    ],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RULE]...", help="Signals or links (default: all).")
    ] = None,
    rules: RulesFolder = None,
    plain: Annotated[
        bool,
        typer.Option("--plain", help="Keep the rule's names of fields, and name no table; for pipelines of your own."),
    ] = False,
) -> None:
    """Convert signals and links to queries of a SIEM, with its tables and columns; needs the extra siem.

    Example: evtx-analyzer rules convert --target sentinel chain_policy_failed
    """
    from evtx_analyzer.rule_tools.convert import convert
    from evtx_analyzer.rules import load
    from evtx_analyzer.rules.files import rule_folders

    load(*rule_folders(rules))
    queries = list(convert(rule_folders(rules), target, names or (), plain=plain))
    for query in queries:
        if query.problem:
            complain(f"{query.name} cannot be converted: {query.problem}")
        else:
            note = f"# {query.note}\n" if query.note else ""
            write_text(f"# {query.name}\n{note}{query.query}\n\n")
    raise typer.Exit(0 if any(query.query for query in queries) else 2)
