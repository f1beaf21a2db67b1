"""The builder's commands; each says more with --help.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 waits for manual review.
"""

from typing import Annotated

import typer

from builder.commands import audit, corpus, publish, rebuild, review
from mllmu_med.command_line import make_app, one_line_errors

app = make_app("Build MLLMU-Med: a benchmark for unlearning in biomedical multimodal models.")
app.command(examples=rebuild.REBUILD_EXAMPLES)(rebuild.rebuild)
app.command(examples=corpus.EXAMPLES)(corpus.corpus)
app.command(examples=rebuild.STATUS_EXAMPLES)(rebuild.status)
app.command(examples=rebuild.SHOW_EXAMPLES)(rebuild.show)


@app.command(
    examples="""
python -m builder recipe paper
python -m builder recipe demo > mine.yaml && python -m builder rebuild --recipe mine.yaml
"""
)
@one_line_errors
def recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="demo or paper.")] = "demo",
) -> None:
    """Print a recipe with its comments, as a template for your own."""
    from mllmu_med.recipe_files import recipe_text

    print(recipe_text("builder", name), end="")


app.add_typer(review.app, name="review")
app.command(examples=audit.EXAMPLES, epilog=audit.EPILOG)(audit.audit)
app.command(examples=publish.EXAMPLES, epilog=publish.EPILOG)(publish.publish)


if __name__ == "__main__":
    app(prog_name="python -m builder")
