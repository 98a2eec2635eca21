"""What mkdocs does beside building the pages of the repository."""

import json
import re
from pathlib import Path

PAGE = "docs/reference/environment"
LINK = re.compile(r"\[([^\]]+)\]\(([^)#:\s]+)\)")
CELL = re.compile(r"<td>.*?</td>", re.DOTALL)
ROW = re.compile(r"<td><code>(STABLEHAND_\w+)</code></td>(\s*<td>.*?</td>\s*)<td>(.*?)</td>", re.DOTALL)
rows = []


def on_page_markdown(markdown, page, config, **_):
    """Leaves links to directories out, which a repository shows and a site does not."""
    here = Path(config.docs_dir, page.file.src_uri).parent
    return LINK.sub(lambda link: link[1] if (here / link[2]).is_dir() else link[0], markdown)


def on_page_content(html, page, **_):
    """Shows | in cells as GitHub does, and gives each row of the table of variables an address."""
    html = CELL.sub(lambda cell: cell[0].replace(r"\|", "|"), html)
    if page.file.src_uri != PAGE + ".md":
        return html
    rows[:] = [(name, meaning) for name, _, meaning in ROW.findall(html)]
    return ROW.sub(lambda row: row[0].replace("<td>", f'<td id="{row[1].lower()}">', 1), html)


def on_post_build(config):
    """Tells the search of each row, as of a part of its own, by both of its names."""
    file = Path(config.site_dir, "search/search_index.json")
    index = json.loads(file.read_text())
    for name, meaning in rows:
        index["docs"].append({"location": f"{PAGE}/#{name.lower()}", "title": name, "text": f"{name.removeprefix('STABLEHAND_')}: {meaning}"})
    file.write_text(json.dumps(index))
