"""A document as Markdown."""

from training.reports.document import (
    BulletList,
    Commands,
    Heading,
    Paragraph,
    Table,
    bullets,
    document,
    facts,
    to_markdown,
)


def test_every_block_has_its_markdown() -> None:
    page = document(
        Heading("Title", 1),
        [Paragraph("**Bold** text."), bullets(["one", "two"])],
        Table(("model", "HR@1"), (("most popular", "0.100"),)),
        facts({"Drift": "none", "Missing": ""}),
        Commands((("results", "sensei results"),)),
    )
    assert to_markdown(page) == (
        "# Title\n\n**Bold** text.\n\n- one\n- two\n\n"
        "| model | HR@1 |\n| --- | --- |\n| most popular | 0.100 |\n\n"
        "- Drift: none\n\n- results: `sensei results`\n"
    )


def test_an_empty_list_becomes_a_sentence() -> None:
    assert bullets([], "None found.") == Paragraph("None found.")
    assert bullets(["x"], "None found.") == BulletList(("x",))
