"""What would let a file or a server run code does not occur in the packages, and Ray keeps to this machine."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("winnow", "filters", "training", "eval", "pipeline")
FILES = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]

MODULES = {
    "pickle": "runs code as it reads; its error types may be caught",
    **dict.fromkeys(("cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"), "runs code as it reads"),
    **dict.fromkeys(("tarfile", "zipfile"), "gives members' names to files: winnow.tar does not"),
    "webdataset": "decodes members by their extension, pickles too",
    **dict.fromkeys(("requests", "httpx", "aiohttp", "http.client", "urllib.request", "urllib3", "ftplib"), "no guard"),
    "img2dataset": "no guard; imported by name where a run asks for it",
}
"""Module that is not imported -> why."""
ERRORS = {"UnpicklingError", "PicklingError"}
CALLS = {
    **dict.fromkeys(("eval", "exec", "compile", "__import__", "os.system", "os.popen"), "runs text as code"),
    **dict.fromkeys(("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load"), "makes objects: safe_load"),
    **dict.fromkeys(("torch.hub.load", "torch.jit.load", "torch.package.PackageImporter"), "runs code as it reads"),
    **dict.fromkeys(("shutil.unpack_archive", "pd.read_pickle", "pandas.read_pickle"), "trusts what it reads"),
    **dict.fromkeys(("subprocess.getoutput", "asyncio.create_subprocess_shell"), "a shell"),
    "Image.open": "no limits: decode_image",
}
"""Call that is not made -> why."""
METHODS = {"extractall": "writes what a tar says where it says", "urlopen": "no guard", "urlretrieve": "no guard"}
ARGUMENTS = {
    "shell": "a shell",
    "allow_pickle": "runs code as it reads",
    "trust_remote_code": "runs code that came with weights",
}
"""Argument that is not given as True -> why."""
SEEN_THROUGH = ("torch.load", "np.load", "numpy.load", "subprocess.run", "subprocess.Popen")
EXCEPTIONS = {
    ("winnow/images.py", "Image.open"): "is that place",
    ("pipeline/picturesets/openmoji.py", "Image.open"): "drawn by resvg in this process",
    ("eval/report/run.py", "Image.open"): "drawn by the run's own `eval`",
    ("winnow/tensors.py", "zipfile"): "compares checksums, and no name becomes a file",
}


def dotted(node: ast.expr) -> str:
    """Return the name a call goes by, "torch.load"; "" for what has none."""
    if isinstance(node, ast.Attribute) and (value := dotted(node.value)):
        return f"{value}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imported(node: ast.AST) -> Iterator[str]:
    """Yield every name by which a node could import a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in ("import_module", "require"):
        yield from (str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant))


def aliases_in(tree: ast.AST) -> dict[str, str]:
    """Return the name a file calls something by -> its full name."""
    found = {}
    for node in ast.walk(tree):
        for alias in node.names if isinstance(node, ast.Import | ast.ImportFrom) else ():
            if isinstance(node, ast.ImportFrom):
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif alias.asname:
                found[alias.asname] = alias.name
    return found


def is_constant(node: ast.expr | None, value: object) -> bool:
    """Tell whether an argument is a value, written out."""
    return isinstance(node, ast.Constant) and node.value is value


def findings(text: str, place: str = "") -> list[str]:
    """Return what is wrong with a file."""
    found = []
    tree = ast.parse(text)
    aliases = aliases_in(tree)

    def name_of(node: ast.expr) -> str:
        first, _, rest = dotted(node).partition(".")
        return ".".join(filter(None, (aliases.get(first, first), rest))).removeprefix("PIL.")

    for node in ast.walk(tree):
        for module in imported(node):
            banned = next((name for name in MODULES if f"{module}.".startswith(f"{name}.")), None)
            if banned is None or (place, module) in EXCEPTIONS:
                continue
            if module not in ("pickle", *(f"pickle.{error}" for error in ERRORS)):
                found.append(f"imports {module}: {MODULES[banned]}")
        if isinstance(node, ast.Attribute) and name_of(node.value) == "pickle" and node.attr not in ERRORS:
            found.append(f"pickle.{node.attr}: {MODULES['pickle']}")
        if isinstance(node, ast.Call):
            found += judged(node, name_of(node.func), place)
    return found


def judged(node: ast.Call, name: str, place: str) -> Iterator[str]:
    """Yield what is wrong with a call."""
    last = node.func.attr if isinstance(node.func, ast.Attribute) else name.rpartition(".")[2]
    given = {argument.arg: argument.value for argument in node.keywords}
    if name in CALLS and (place, name) not in EXCEPTIONS:
        yield f"{name}(): {CALLS[name]}"
    if last in METHODS:
        yield f"{last}(): {METHODS[last]}"
    if name == "torch.load" and not is_constant(given.get("weights_only"), True):
        yield "torch.load() without weights_only=True: runs code as it reads"
    for argument, why in ARGUMENTS.items():
        if argument in given and not is_constant(given[argument], False):
            yield f"{argument}=True: {why}"
    if None in given and name in SEEN_THROUGH:
        yield f"{name}(**...): nobody can see with what"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_in_the_packages_runs_what_it_reads(path: Path) -> None:
    assert findings(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle\npickle.loads(b'')",
        "import pickle as p\np.load(f)",
        "from pickle import loads",
        "import dill",
        "import tarfile",
        "from webdataset import WebDataset",
        "importlib.import_module('joblib')",
        "require('webdataset', 'dev')",
        "from urllib.request import urlopen",
        "from urllib import request",
        "import requests",
        "import torch\ntorch.load(p)",
        "import torch\ntorch.load(p, weights_only=False)",
        "import torch\ntorch.load(p, weights_only=flag)",
        "from torch import load\nload(p)",
        "import torch as t\nt.load(p)",
        "torch.load(p, **options)",
        "np.load(p, allow_pickle=True)",
        "np.load(p, allow_pickle=flag)",
        "import yaml\nyaml.load(text)",
        "from yaml import unsafe_load\nunsafe_load(text)",
        "eval('1')",
        "exec(text)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
        "archive.extractall(folder)",
        "x = open_it().extractall()",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "from PIL import Image\nImage.open(file)",
        "import PIL.Image\nPIL.Image.open(file)",
    ],
)
def test_each_of_them_would_be_found(text: str) -> None:
    assert findings(text)


@pytest.mark.parametrize(
    "text",
    [
        "import pickle\ntry:\n    pass\nexcept pickle.UnpicklingError:\n    pass",
        "from pickle import UnpicklingError",
        "import torch\ntorch.load(p, weights_only=True)",
        "np.load(p)\nnp.load(p, allow_pickle=False)",
        "yaml.safe_load(text)",
        "model.eval()\nload(p).eval()",
        "extractor.extract(pictures)",
        "subprocess.run([sys.executable])",
        "from urllib.parse import urlsplit",
        "re.compile('x')",
        "load(p)",
    ],
)
def test_what_is_harmless_is_let_be(text: str) -> None:
    assert findings(text) == []


def test_every_exception_is_still_one() -> None:
    for place, call in EXCEPTIONS:
        assert any(call in finding for finding in findings((ROOT / place).read_text(encoding="utf-8"))), place


LISTENING = """
import os
from pathlib import Path
from pipeline.engine.executors.ray import Ray, _connect

_connect(Ray())
import ray

def sockets(process):
    for link in Path("/proc", process, "fd").iterdir():
        try:
            yield os.readlink(link).removeprefix("socket:[").removesuffix("]")
        except OSError:
            pass

def work():
    pass

ray.get(ray.remote(work).remote())
parents = {}
for stat in Path("/proc").glob("[0-9]*/stat"):
    try:
        parents[stat.parent.name] = stat.read_text().rpartition(")")[2].split()[1]
    except OSError:
        pass
family = [str(os.getpid())]
for process in family:
    family += [child for child, parent in parents.items() if parent == process]
lines = [line.split() for kind in ("tcp", "tcp6") for line in Path("/proc/net", kind).read_text().splitlines()[1:]]
addresses = {fields[9]: fields[1].split(":")[0] for fields in lines if fields[3] == "0A"}
found = [addresses[each] for process in family for each in sockets(process) if each in addresses]
print(len(found), ",".join(sorted(set(found))), os.environ["RAY_AUTH_MODE"], len(os.environ["RAY_AUTH_TOKEN"]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_ray_of_ours_listens_on_loopback_alone_and_wants_a_token() -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "-c", LISTENING]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=kept, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    number, addresses, mode, length = done.stdout.split()
    assert int(number) > 3
    assert set(addresses.split(",")) <= {"0100007F", "0000000000000000FFFF00000100007F", f"{0:024X}01000000"}
    assert (mode, length) == ("token", "64")
