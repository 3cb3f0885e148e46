"""The rules that ship with evtx_analyzer: installed as the package ``evtx_analyzer.ruleset``."""
