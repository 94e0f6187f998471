"""Bounds as a file of JUnit XML, the form in which build servers read the outcome of checks."""

from __future__ import annotations

from xml.etree import ElementTree

from bertpress.comparison.certificate import Certificate
from bertpress.reports.certificate_sections import bound_line
from bertpress.values import words

SUITE = "bertpress check"


def junit(document: Certificate) -> str:
    """A suite with a case for each bound; one that is broken is a failure with its numbers."""
    bounds = document["bounds"]
    broken = [bound for bound in bounds if not bound["kept"]]
    counts = {"tests": str(len(bounds)), "failures": str(len(broken)), "errors": "0", "skipped": "0"}
    root = ElementTree.Element("testsuites", {"name": SUITE, **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": SUITE, **counts})
    about = ElementTree.SubElement(suite, "properties")
    for name in ("result", "against", "task", "split", "metric"):
        ElementTree.SubElement(about, "property", {"name": name, "value": words(document[name])})
    for bound in bounds:
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": "bertpress.check", "name": words(bound["bound"])}
        )
        if bound["kept"]:
            ElementTree.SubElement(case, "system-out").text = bound_line(bound)
        else:
            failure = {"message": bound_line(bound), "type": "broken"}
            ElementTree.SubElement(case, "failure", failure).text = bound_line(bound)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'
