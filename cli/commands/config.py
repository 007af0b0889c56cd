"""`soma config`: the settings, and where each value comes from."""

import typer


def config() -> None:
    """Show every setting, its value and where the value comes from. Secrets are hidden."""
    from cli.effective_settings import effective, require_known_tables, settings_classes
    from cli.table import aligned

    require_known_tables()
    rows = [("setting", "value", "from")]
    rows += [(each.name, each.value, each.source) for kind in settings_classes() for each in effective(kind)]
    typer.echo("\n".join(aligned(rows)))
