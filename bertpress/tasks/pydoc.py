"""Which area of the standard library does this sentence describe? Real text that every installation of Python holds.

The rows are the sentences of the docstrings of the modules in `AREAS`, the label is the area. Another version of Python
has other docstrings, hence other rows: a figure measured on this task names the version beside it.

Nothing but the modules in the table is asked for: some modules of the library open a browser, print, or touch the
terminal. Names of modules are taken out of the text, since they would give the label away, and all sentences of one
object stand in one split, since they share their words.

A fresh interpreter runs this very file to read the docstrings. In the process at hand they are not what Python ships:
torch replaces `inspect.getfile`, transformers adds methods to loggers.
"""

import hashlib
import importlib
import inspect
import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from datasets import Dataset

# Modules that Python 3.11 to 3.13 share, with the private ones whose objects a public one only passes on. Packed by
# hand: one module a line would be two hundred lines more.
# fmt: off
AREAS: dict[str, tuple[str, ...]] = {
    "concurrency": (
        "asyncio", "asyncio.base_events", "asyncio.events", "asyncio.exceptions", "asyncio.futures", "asyncio.locks",
        "asyncio.protocols", "asyncio.queues", "asyncio.runners", "asyncio.selector_events", "asyncio.sslproto",
        "asyncio.staggered", "asyncio.streams", "asyncio.taskgroups", "asyncio.tasks", "asyncio.threads",
        "asyncio.timeouts", "asyncio.transports", "asyncio.unix_events", "concurrent.futures",
        "concurrent.futures._base", "concurrent.futures.process", "concurrent.futures.thread", "contextvars",
        "multiprocessing", "multiprocessing.connection", "multiprocessing.context", "multiprocessing.forkserver",
        "multiprocessing.managers", "multiprocessing.pool", "multiprocessing.process", "multiprocessing.queues",
        "multiprocessing.reduction", "multiprocessing.shared_memory", "multiprocessing.spawn", "multiprocessing.util",
        "queue", "sched", "signal", "_signal", "subprocess", "threading", "_thread",
    ),
    "files": (
        "os", "posix", "nt", "posixpath", "ntpath", "genericpath", "pathlib", "pathlib._local", "pathlib._abc",
        "shutil", "tempfile", "glob", "fnmatch", "filecmp", "fileinput", "linecache", "stat", "io", "_io", "zipfile",
        "zipfile._path", "tarfile", "gzip", "bz2", "_bz2", "lzma", "_lzma", "zlib", "mmap", "fcntl",
    ),
    "interfaces": (
        "argparse", "cmd", "curses", "_curses", "_curses_panel", "curses.textpad", "getopt", "getpass", "optparse",
        "tkinter", "tkinter.colorchooser", "tkinter.dialog", "tkinter.dnd", "tkinter.filedialog", "tkinter.font",
        "tkinter.scrolledtext", "tkinter.simpledialog", "tkinter.ttk",
    ),
    "introspection": (
        "ast", "code", "codeop", "compileall", "dis", "gc", "importlib", "importlib.abc", "importlib.metadata",
        "_frozen_importlib", "_frozen_importlib_external", "importlib.resources", "importlib.resources._common",
        "importlib.resources.abc", "importlib.util", "inspect", "modulefinder", "pkgutil", "platform", "py_compile",
        "pyclbr", "pydoc", "runpy", "site", "symtable", "sys", "sysconfig", "tabnanny", "tokenize", "venv", "zipapp",
        "zipimport",
    ),
    "language": (
        "abc", "array", "bisect", "_bisect", "builtins", "collections", "collections.abc", "_collections", "contextlib",
        "copy", "copyreg", "ctypes", "_ctypes", "dataclasses", "enum", "functools", "_functools", "graphlib", "heapq",
        "_heapq", "itertools", "operator", "_operator", "types", "typing", "weakref", "_weakref",
    ),
    "mail": (
        "base64", "binascii", "email", "email._encoded_words", "email._header_value_parser", "email._parseaddr",
        "email._policybase", "email.base64mime", "email.charset", "email.encoders", "email.errors", "email.feedparser",
        "email.generator", "email.header", "email.headerregistry", "email.iterators", "email.message", "email.parser",
        "email.policy", "email.quoprimime", "email.utils", "imaplib", "mailbox", "mimetypes", "poplib", "quopri",
        "smtplib",
    ),
    "networking": (
        "ftplib", "http", "http.client", "http.cookiejar", "http.cookies", "http.server", "ipaddress", "select",
        "selectors", "socket", "_socket", "socketserver", "ssl", "_ssl", "urllib", "urllib.error", "urllib.parse",
        "urllib.request", "urllib.response", "urllib.robotparser", "uuid", "wsgiref", "wsgiref.handlers",
        "wsgiref.headers", "wsgiref.simple_server", "wsgiref.util", "wsgiref.validate", "xmlrpc.client",
        "xmlrpc.server",
    ),
    "numbers and dates": (
        "calendar", "cmath", "colorsys", "datetime", "decimal", "fractions", "hashlib", "_hashlib", "hmac", "math",
        "numbers", "random", "_random", "secrets", "statistics", "time", "zoneinfo",
    ),
    "testing": (
        "bdb", "cProfile", "doctest", "faulthandler", "logging", "logging.config", "logging.handlers", "pdb", "profile",
        "pstats", "timeit", "trace", "traceback", "tracemalloc", "_tracemalloc", "unittest", "unittest.async_case",
        "unittest.case", "unittest.loader", "unittest.main", "unittest.mock", "unittest.result", "unittest.runner",
        "unittest.suite", "unittest.util", "warnings",
    ),
    "text and data": (
        "codecs", "_codecs", "configparser", "csv", "_csv", "dbm", "dbm.dumb", "difflib", "encodings", "gettext",
        "html", "html.entities", "html.parser", "json", "json.decoder", "json.encoder", "locale", "marshal",
        "_multibytecodec", "pickle", "pickletools", "plistlib", "pprint", "pyexpat", "re", "reprlib", "shelve", "shlex",
        "sqlite3", "sqlite3.dbapi2", "string", "struct", "_struct", "textwrap", "tomllib", "unicodedata", "xml",
        "xml.dom", "xml.dom.domreg", "xml.dom.expatbuilder", "xml.dom.minidom", "xml.dom.xmlbuilder",
        "xml.etree.ElementTree", "xml.sax", "xml.sax.expatreader", "xml.sax.handler", "xml.sax.saxutils",
        "xml.sax.xmlreader",
    ),
}
# fmt: on

SHORTEST, LONGEST = 5, 40  # words in a sentence
LETTERS = 0.85  # share of letters and spaces, below which a sentence is rather code
NEUTRAL = "module"  # stands where the name of a module stood

EXAMPLE = re.compile(r"^[ \t]*>>>.*(\n.*\S.*)*", re.MULTILINE)  # a prompt and what is printed, up to an empty line
# Lines that are no prose: a signature, "name -- description", "name: description", a bullet, a table or a rule.
NO_PROSE = re.compile(
    r"[\w.]+\(.*\)(\s*(->|--|=>|=).*)?:?$|\*{0,2}[\w.]+(\s*\(.*?\))?\s*(--?|:|=)\s|[-*+•|]\s|[@:]\w"
    r"|\(?(\d{1,2}|[a-z])[.)]\s|.*(\S {3,}\S|[-=~^*]{3})"
)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(`])")
SENTENCE = re.compile(r"[\"'`(]?[A-Z`].*[.!?][\"')]?")
UNWANTED = re.compile(r"0x[0-9a-f]|(?<!\w)~?/\w|\w/\w+/\w|\\|[{}<>|=@#\[\]]|://", re.IGNORECASE)  # address, path, code


class Row(TypedDict):
    """A sentence, the index of its area in `tuple(AREAS)`, and the object whose docstring holds it."""

    text: str
    label: int
    object: str


def load() -> "dict[str, Dataset]":
    """The splits as data sets; their description names the version of Python."""
    from datasets import ClassLabel, Dataset, DatasetInfo, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=list(AREAS)), "object": Value("string")})
    info = DatasetInfo(description=f"docstrings of Python {platform.python_version()}", features=features)
    return {split: Dataset.from_list(rows, features, info=info) for split, rows in sentences().items()}


def sentences() -> dict[str, list[Row]]:
    """The rows of each split, in an order that mixes the areas and is the same in every process.

    A sentence that stands in several docstrings belongs to the first, one that stands in several areas to none.
    """
    areas: dict[str, set[int]] = {}
    first: dict[str, Row] = {}
    names = _module_names()
    for label, name, docstring in _docstrings_of_a_fresh_interpreter():
        for text in _split_sentences(docstring, names):
            key = re.sub(r"\W+", " ", text).strip().lower()
            areas.setdefault(key, set()).add(label)
            first.setdefault(key, {"text": text, "label": label, "object": name})
    splits: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    for key in sorted(first, key=_draw):
        if len(areas[key]) == 1:
            splits[_split_of(first[key]["object"])].append(first[key])
    return splits


def _split_of(name: str) -> str:
    """The split of an object: a pure function of its name, 80/10/10."""
    return {8: "validation", 9: "test"}.get(_draw(name) % 10, "train")


def _draw(key: str) -> int:
    """A number that looks random and, unlike `hash`, is the same in every process."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


def _module_names() -> re.Pattern[str]:
    """Finds every name in the table, whole or in part, as whole words, with the dots between them."""
    parts = {part for modules in AREAS.values() for module in modules for part in module.split(".")}
    name = "(?:" + "|".join(sorted(parts, key=lambda part: (-len(part), part))) + ")"
    return re.compile(rf"(?<!\w){name}(?:\.{name})*(?!\w)", re.IGNORECASE)


def _split_sentences(docstring: str, names: re.Pattern[str]) -> Iterator[str]:
    """The sentences of the docstring's prose, with a neutral word for what `names` finds."""
    for prose in _prose(docstring):
        for sentence in SENTENCE_END.split(prose):
            text = names.sub(NEUTRAL, sentence)
            if _is_wanted(text):
                yield text


def _prose(docstring: str) -> Iterator[str]:
    """The runs of lines that are prose, each joined to one line; what is indented is code or a list."""
    lines: list[str] = []
    for line in [*EXAMPLE.sub("", inspect.cleandoc(docstring)).splitlines(), ""]:
        if line and not line[0].isspace() and not NO_PROSE.match(line):
            lines.append(line)
        elif lines:
            yield " ".join(" ".join(lines).split())
            lines = []


def _is_wanted(text: str) -> bool:
    """Whether the text is one sentence of a fair length, of letters, without what differs between machines."""
    letters = sum(character.isalpha() or character == " " for character in text)
    return (
        SHORTEST <= len(text.split()) <= LONGEST
        and letters >= LETTERS * len(text)
        and SENTENCE.fullmatch(text) is not None
        and UNWANTED.search(text) is None
    )


def _docstrings_of_a_fresh_interpreter() -> list[tuple[int, str, str]]:
    """What `_docstrings` finds where nothing was imported or patched before, whatever the flags of this process."""
    # Isolated and without `site`: no folder of the user's, no installed package, no environment variable has a say.
    command = [sys.executable, "-I", "-S", "-X", "utf8", "-W", "ignore", __file__]
    found = subprocess.run(command, input=json.dumps(AREAS), stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return [(label, name, docstring) for label, name, docstring in json.loads(found.stdout)]


def _docstrings(areas: dict[str, list[str]]) -> Iterator[tuple[int, str, str]]:
    """Label, name and docstring of every module and of all that is defined in it."""
    for label, modules in enumerate(areas.values()):
        for name in modules:
            try:
                module = importlib.import_module(name)
            except ImportError:
                continue  # not on this machine: another system, no display library, another version of Python
            if module.__doc__:
                yield label, name, module.__doc__
            for member, docstring in _members(module, name, name, set()):
                yield label, member, docstring


def _members(owner: ModuleType | type, path: str, module: str, seen: set[type]) -> Iterator[tuple[str, str]]:
    """Names and docstrings of what `owner` holds and `module` defines, classes with their own members."""
    for key, value in sorted(vars(owner).items()):
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        is_class = isinstance(value, type)
        if not (is_class or inspect.isroutine(value) or inspect.isdatadescriptor(value)):
            continue
        if (is_class or isinstance(owner, ModuleType)) and getattr(value, "__module__", None) != module:
            continue  # only passed on: it counts where it is defined
        name = f"{module}.{value.__qualname__}" if is_class else f"{path}.{key}"
        docstring = value.__doc__
        if isinstance(docstring, str):
            yield name, docstring
        if is_class and value not in seen:
            seen.add(value)
            yield from _members(value, name, module, seen)


if __name__ == "__main__":
    json.dump(list(_docstrings(json.load(sys.stdin))), sys.stdout)
