"""The builder's commands; each says more with --help.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 waits for manual review.
"""

from typing import Annotated

import typer

from builder.commands import audit, corpus, doctor, publish, rebuild, review
from builder.commands.options import examples
from mllmu_med.command_line import make_app, one_line_errors

app = make_app("Build MLLMU-Med: a benchmark for unlearning in biomedical multimodal models.")
app.command()(doctor.doctor)
app.command(examples=examples("rebuild"))(rebuild.rebuild)
app.command(examples=examples("corpus"))(corpus.corpus)
app.command(examples=examples("status"))(rebuild.status)
app.command(examples=examples("show"))(rebuild.show)


@app.command(examples=examples("recipe"))
@one_line_errors
def recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="demo or paper.")] = "demo",
) -> None:
    """Print a recipe with its comments, as a template for your own."""
    from mllmu_med.recipe_files import recipe_text

    print(recipe_text("builder", name), end="")


app.add_typer(review.app, name="review")
app.command(examples=examples("audit"), epilog=audit.EPILOG)(audit.audit)
app.command(examples=examples("publish"), epilog=publish.EPILOG)(publish.publish)


if __name__ == "__main__":
    app(prog_name="python -m builder")
