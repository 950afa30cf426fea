"""Plots and a Markdown summary of load tests, from their logs.

    python loadtests/report.py load.jsonl                          # -> load.html, and Markdown on the terminal
    python loadtests/report.py cascade.jsonl target.jsonl          # two runs on the same arrivals, and their ratios

The page has everything in it and needs no network.
"""

import argparse
import sys
from pathlib import Path

from load import LoadError
from load.log import read_log
from load.page import page, report_markdown


def main() -> None:
    parser = argparse.ArgumentParser(description="Plots and a Markdown summary of load tests, from their logs.")
    parser.add_argument("logs", type=Path, nargs="+", help="logs that make load wrote; two are compared")
    parser.add_argument("--html", type=Path, help="the page (default: the first log's name, with .html)")
    parser.add_argument("--markdown", type=Path, help="a file for the Markdown, besides the terminal")
    options = parser.parse_args()
    try:
        runs = [(path.stem, read_log(path)) for path in options.logs]
    except LoadError as error:
        sys.exit(str(error))
    html = options.html or options.logs[0].with_suffix(".html")
    html.write_text(page(runs), encoding="utf-8")
    text = report_markdown(runs)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    print(f"{text}\nPage: {html}")


if __name__ == "__main__":
    main()
