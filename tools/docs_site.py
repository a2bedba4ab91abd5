"""A hook of mkdocs: which pages the site has besides those of docs/, and in which order.

README is the first page; a reference page for each folder of the package is made of its docstrings; the tutorials are
their scripts. A page of docs/ that no group below names stands under "More", so that none can be forgotten.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File
from notebooks import as_page  # beside this file

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "metatoken"
GROUPS = {
    "Start": ("concepts", "running", "data"),
    "Tokens": ("vocabulary", "walks", "skipgram", "clustering", "scores"),
    "Model": ("tasks", "model", "decoding", "training", "lightning", "backbones", "smollm2"),
    "Use": ("serving", "ray", "growth", "report", "reliability"),
    "Quality": ("evaluation", "reproduction", "lab", "performance", "scale"),
}
OWN = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
DESIGN = ("design", "contributing", "changelog")
# Folders of the package, and a module, in the order of the stages; one that is not named here follows them.
STAGES = (
    "data", "tokens", "tasks", "model", "decode", "predict", "baselines", "evaluate", "run", "recommend", "serve",
    "report", "artifacts", "engine", "errors", "_core",
)  # fmt: skip
COMMANDS = "cli"  # which have --help


def parts() -> list[str]:
    """What has a page of the reference."""
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py*")}
    return [*STAGES, *sorted(folders - {*STAGES, COMMANDS})]


def repository() -> str:
    """The address of the project, which pyproject.toml alone holds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"])


def generated() -> dict[str, str]:
    """Pages that are made from other files, by their path within the site."""
    pages = {f"api/{name.strip('_')}.md": reference(name) for name in parts()}
    pages["api/index.md"] = "# Reference\n\n" + opening(PACKAGE / "__init__.py") + "\n\n" + public_names()
    for source, name in OWN.items():
        pages[name] = moved((ROOT / source).read_text(encoding="utf-8"))
    for script in tutorials():
        pages[f"tutorials/{script.stem}.md"] = as_page(script.read_text(encoding="utf-8"))
    return pages


def tutorials() -> list[Path]:
    """Scripts of the tutorials, in their order."""
    return sorted((ROOT / "docs" / "tutorials").glob("*.py"))


def moved(page: str, inside: str = "") -> str:
    """Links of a page as they are in the site: to its page where there is one, else to the repository.

    Args:
        page: Markdown.
        inside: `docs/` for a page of that folder, whose other links are relative to it.
    """

    def place(found: re.Match[str]) -> str:
        target, anchor = found[1], found[2] or ""
        if inside and not target.startswith("../"):
            return found[0]
        target = target.removeprefix("../")
        if target.startswith("docs/"):
            return f"]({target.removeprefix('docs/').replace('.ipynb', '.md')}{anchor})"
        return f"]({OWN.get(target, f'{repository()}/{target}')}{anchor})"

    page = page.replace('src="docs/', 'src="')
    return re.sub(r"\]\((?![a-z]+:)([^)#\s]+)(#[^)]*)?\)", place, page)


def opening(path: Path) -> str:
    """The docstring of a module."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def public_names() -> str:
    """Names of `metatoken` itself, with the place of each in the reference."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    places = next(
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_PLACES"
    )
    lines = [
        f"- `metatoken.{name}`: [{home}]({home.split('.')[1]}.md)" for name, home in ast.literal_eval(places).items()
    ]
    return "\n".join(lines) + "\n"


def reference(name: str) -> str:
    """One page: what each public module of a folder has."""
    place = PACKAGE / name
    if not place.is_dir():
        return f"# {name}\n\n::: metatoken.{name}\n"
    found = sorted(path for path in place.rglob("*.py*") if path.suffix in {".py", ".pyi"})
    modules = [module_name(path) for path in found if not path.stem.startswith("_") or path.stem == "__init__"]
    return f"# {name}\n\n" + "\n\n".join(f"::: {module}" for module in modules) + "\n"


def module_name(path: Path) -> str:
    """How a file is imported."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Sets the navigation: the groups, what no group names, tutorials, reference."""
    there = {path.stem for path in (ROOT / "docs").glob("*.md")}
    named = {page for pages in GROUPS.values() for page in pages} | set(DESIGN)
    groups: list[Any] = [{"metatoken": "index.md"}]
    groups += [{title: [f"{page}.md" for page in pages if page in there]} for title, pages in GROUPS.items()]
    groups.append({"Tutorials": [f"tutorials/{script.stem}.md" for script in tutorials()]})
    groups.append({"Reference": ["api/index.md", *(f"api/{name.strip('_')}.md" for name in parts())]})
    groups.append({"Project": [f"{page}.md" for page in DESIGN]})
    if left := sorted(there - named):
        groups.append({"More": [f"{page}.md" for page in left]})
    config.nav = [group for group in groups if all(group.values())]
    config.repo_url, config.repo_name = repository(), "Repository"
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages, and leaves out the scripts and notebooks that some of them are made of."""
    for file in list(files):
        if file.src_uri.startswith("tutorials/"):
            files.remove(file)
    for path, content in generated().items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Leads links that leave docs/ to the page of the site, or to the repository."""
    return moved(markdown, "docs/") if page.file.generated_by is None else markdown
