"""`soma config`: what the settings are, and why."""

import typer


def config() -> None:
    """Show every setting with its value and where that came from; secrets are hidden."""
    from pydantic import ValidationError

    from cli.effective_settings import effective, settings_classes
    from cli.table import aligned
    from services.mesh.errors import InvalidArgument

    rows = [("setting", "value", "from")]
    for kind in settings_classes():
        try:
            rows += [(each.name, each.value, each.source) for each in effective(kind)]
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise InvalidArgument(f"the settings are wrong: {wrong}", reason="SETTINGS_INVALID") from error
    typer.echo("\n".join(aligned(rows)))
