"""The house rules that a reader would otherwise have to watch, over the syntax trees of every file that there is."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("backbone", "heads", "tasks", "conf")
OTHERS = ("tests", "benchmarks", "examples")

HEAVY = {
    "albumentations", "cv2", "faster_coco_eval", "lightning", "matplotlib", "numpy", "pandas", "PIL", "pycocotools",
    "pytorch_lightning", "safetensors", "scipy", "simplejpeg", "tensorboard", "timm", "torch", "torchmetrics",
    "torchvision", "transformers",
}  # fmt: skip
"""What takes long to import, or imports something that does."""
FAMILY = re.compile(r"mobilenet_?v\d", re.IGNORECASE)
NAMES_FAMILIES = (
    "backbone/families/", "backbone/weights/", "backbone/__init__.py", "backbone/build.py", "tasks/papers/",
    "tasks/commands/profile/comparison.py", "tasks/commands/profile/family_models.py",
    "tasks/commands/profile/models.py", "tasks/commands/profile/table.py", "tasks/config/renamed.py",
)  # fmt: skip
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "misc", "common"}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70
MACHINE_PATH = re.compile(r"(?<![\w./~-])/(?:work|home|Users|root|tmp|mnt|scratch)/\w|\b[A-Z]:\\+Users\b")


def files_of(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def path_of(module: str) -> Path | None:
    """The file of one of our modules."""
    base = ROOT.joinpath(*module.split("."))
    candidates = [base.with_suffix(".py"), base / "__init__.py"]
    return next((path for path in candidates if path.is_file()), None)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def statements(body: list[ast.stmt], *, when_run: bool) -> Iterator[ast.stmt]:
    """Every statement below `body`; `when_run`: only those that importing the module executes."""
    for node in body:
        yield node
        if when_run and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if when_run and is_type_checking(node):
            assert isinstance(node, ast.If)
            yield from statements(node.orelse, when_run=True)
            continue
        for field in ("body", "orelse", "finalbody"):
            yield from statements(getattr(node, field, []), when_run=when_run)
        for handler in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
            yield from statements(handler.body, when_run=when_run)


def imports_of(path: Path, *, when_run: bool = False) -> set[str]:
    """Full names of the modules that a file imports; for `from a import b` also `a.b`, where that is one of ours."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    names: set[str] = set()
    for node in statements(tree_of(path).body, when_run=when_run):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*parents, *filter(None, [node.module])])
            names |= {module} | {f"{module}.{a.name}" for a in node.names if path_of(f"{module}.{a.name}")}
    return names


def roots(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def loaded_by(module: str, seen: set[str] | None = None) -> set[str]:
    """Every module that importing one of ours executes: itself, its packages, and theirs in turn."""
    seen = set() if seen is None else seen
    parts = module.split(".")
    for name in (".".join(parts[: n + 1]) for n in range(len(parts))):
        if name not in seen:
            seen.add(name)
            path = path_of(name)
            for imported in imports_of(path, when_run=True) if path else ():
                loaded_by(imported, seen)
    return seen


PRODUCT = files_of(*PACKAGES)
LAYERS = (
    "run", "predict", "cli", "commands", "build", "report", "predictor", "search", "deploy", "vision_task", "training",
    "inference", "evaluators", "checkpoints", "distributed", "model", "data", "metrics", "drawing", "papers",
    "timing", "runs", "config",
)  # fmt: skip
"""Of `tasks`, top to bottom; imports go down only."""
MAX_LOOSE_MODULES = 6
MAX_TAKE_THE_RUN = 7
"""Functions that are handed the whole configuration; all others are given the section that they read."""
SHOWN = [*PRODUCT, *files_of("benchmarks", "examples")]
ALL = [*SHOWN, *files_of("tests")]
COMMAND_LINE = ROOT / "tasks" / "cli" / "main.py"
LIGHT = [
    path
    for path in PRODUCT
    if path.name == "config.py"
    or path.relative_to(ROOT).parts[0] == "conf"
    or path in (ROOT / "tasks" / "run.py", COMMAND_LINE)
]
"""What is read before a configuration is valid."""
CONFIGS = [path for path in LIGHT if path.name not in ("run.py", "main.py")]

every_product_file = pytest.mark.parametrize("path", PRODUCT, ids=name_of)
every_file = pytest.mark.parametrize("path", ALL, ids=name_of)


def test_there_is_something_to_look_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in PRODUCT} == set(PACKAGES)
    assert ROOT / "backbone" / "config.py" in CONFIGS


@cache
def our_imports(path: Path) -> frozenset[str]:
    """Our modules that a file imports: at its top, inside functions, and for types."""
    names = {name for name in imports_of(path) if path_of(name) in PRODUCT} - {module_of(path)}
    return frozenset(name for name in names if not any(other.startswith(f"{name}.") for other in names))


def layer_of(module: str) -> int | None:
    package, _, rest = module.partition(".")
    return LAYERS.index(rest.partition(".")[0]) if package == "tasks" and rest else None


def test_imports_go_down_the_layers() -> None:
    climbs = set()
    for path in files_of("tasks"):
        mine = layer_of(module_of(path))
        for name in our_imports(path):
            theirs = layer_of(name)
            if mine is not None and theirs is not None and theirs < mine:
                climbs.add((module_of(path), name))
    assert not climbs


def takes_the_run(path: Path) -> list[str]:
    """Functions of a file one of whose arguments is a `RunConfig`, or several."""
    functions = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [
        f"{name_of(path)}:{function.name}"
        for function in functions
        for one in [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        if one.annotation is not None and re.search(r"\bRunConfig\b", ast.unparse(one.annotation))
    ]


def test_few_functions_take_the_whole_configuration() -> None:
    found = [name for path in PRODUCT for name in takes_the_run(path)]
    assert len(found) <= MAX_TAKE_THE_RUN, found


def test_there_is_no_circle_of_files() -> None:
    """Files are taken away that import nothing of what is left; in a circle none ever can."""
    left = {module_of(path): set(our_imports(path)) for path in PRODUCT}
    while free := {module for module, imports in left.items() if not imports & left.keys()}:
        left = {module: imports for module, imports in left.items() if module not in free}
    assert not left


def test_every_module_of_tasks_has_a_layer_and_few_are_loose() -> None:
    inside = {path.relative_to(ROOT / "tasks").parts[0] for path in files_of("tasks")} - {"__init__.py"}
    assert {name.removesuffix(".py") for name in inside} <= set(LAYERS)
    assert len([name for name in inside if name.endswith(".py")]) <= MAX_LOOSE_MODULES


@pytest.mark.parametrize("path", files_of("backbone"), ids=name_of)
def test_backbone_needs_torch_and_safetensors_alone(path: Path) -> None:
    ours = roots(imports_of(path)) & {*PACKAGES, *OTHERS}
    assert ours <= {"backbone"}
    heavy = roots(imports_of(path)) & {*HEAVY, "hydra", "omegaconf", "rich"}
    is_reader = path.parent.name == "tensorflow"  # imported when such a file is read
    assert heavy <= {"torch", "safetensors", *(["numpy", "tensorboard"] if is_reader else [])}


@pytest.mark.parametrize("path", files_of("heads"), ids=name_of)
def test_heads_see_of_the_backbone_its_features_and_blocks(path: Path) -> None:
    allowed = {"backbone.features", "backbone.blocks", "backbone.architecture", "backbone.errors"}
    imports = imports_of(path)
    assert {name for name in imports if name.startswith("backbone")} <= allowed
    assert not roots(imports) & {"tasks", "conf", *OTHERS, "hydra", "omegaconf", "rich"}
    assert roots(imports) & HEAVY <= {"torch", "torchvision"}
    assert {name for name in imports if name.startswith("torchvision")} <= {"torchvision.ops"}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module == "backbone.architecture":
            assert {alias.name for alias in node.names} <= {"Padding", "Activation"}


@pytest.mark.parametrize("path", files_of("backbone", "heads", "tasks"), ids=name_of)
def test_families_are_named_where_they_live(path: Path) -> None:
    """Besides that by the pages that print the papers' tables, and by the old names of options."""
    if name_of(path).startswith(NAMES_FAMILIES):
        return
    assert not {module for module in imports_of(path) if FAMILY.search(module)}
    tree = tree_of(path)
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = {node for node in ast.walk(tree) if isinstance(node, ast.Constant)} - docstrings
    assert not [node.value for node in constants if isinstance(node.value, str) and FAMILY.search(node.value)]


@pytest.mark.parametrize("path", files_of("tasks"), ids=name_of)
def test_tasks_do_not_know_their_configuration(path: Path) -> None:
    allowed = {"conf"} if path in (COMMAND_LINE, ROOT / "tasks" / "predict" / "loading.py") else set()
    assert roots(imports_of(path)) & {"conf", *OTHERS} <= allowed


@pytest.mark.parametrize("path", files_of("conf"), ids=name_of)
def test_conf_does_not_run_anything(path: Path) -> None:
    assert "tasks.run" not in imports_of(path)
    assert not roots(imports_of(path)) & set(OTHERS)


@pytest.mark.parametrize("path", LIGHT, ids=name_of)
def test_nothing_heavy_is_imported_before_the_configuration_is_valid(path: Path) -> None:
    assert roots(loaded_by(module_of(path))) & HEAVY == set()


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_every_config_class_has_slots_and_keywords_only(path: Path) -> None:
    for node in [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)]:
        for decorator in node.decorator_list:
            if "dataclass" in ast.unparse(decorator):
                given = decorator.keywords if isinstance(decorator, ast.Call) else []
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in given}
                assert options.get("slots") == "True", node.name
                assert options.get("kw_only") == "True", node.name


@every_product_file
def test_no_module_is_a_drawer_for_anything(path: Path) -> None:
    assert not FORBIDDEN_NAMES & set(path.relative_to(ROOT).with_suffix("").parts)


@every_product_file
def test_no_device_is_taken_for_granted(path: Path) -> None:
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    assert not [c.lineno for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr == "cuda"]


@every_file
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, node.name


@pytest.mark.parametrize("path", SHOWN, ids=name_of)
def test_nothing_is_unpickled_or_evaluated(path: Path) -> None:
    assert not roots(imports_of(path)) & {"_pickle", "dill", "cloudpickle", "joblib", "shelve"}
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        assert called not in {"eval", "exec", "builtins.eval", "builtins.exec"}, node.lineno
        assert called not in {"pickle.load", "pickle.loads", "pickle.Unpickler"}, node.lineno
        if called == "torch.load":
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert options.get("weights_only") == "True", node.lineno
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module in {"torch", "pickle"}:
            hidden = {"load", "loads", "Unpickler"} & {alias.name for alias in node.names}
            assert not hidden, f"write {node.module}.load, so that it can be checked"


@every_file
def test_no_path_of_one_machine(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [f"{number}: {line}" for number, line in enumerate(lines, 1) if MACHINE_PATH.search(line)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a '/" + "home/me/x'", True),
        ("/" + "tmp/x", True),
        ("C:\\" + "Users\\me", True),
        ("https://a.b/home/x", False),
        ("a/b", False),
    ],
)
def test_machine_paths_are_recognised(text: str, found: bool) -> None:
    assert bool(MACHINE_PATH.search(text)) is found


def test_imports_are_found_where_they_hide() -> None:
    source = (
        "if TYPE_CHECKING:\n    import a\nelse:\n    import b\n"
        "try:\n    import c\nexcept ImportError:\n    import d\n"
        "def f():\n    import e\nclass C:\n    import g\n"
    )
    body = ast.parse(source).body
    names = {
        when_run: {
            alias.name
            for node in statements(body, when_run=when_run)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        for when_run in (True, False)
    }
    assert names == {True: set("bcdg"), False: set("abcdeg")}
