"""A report in sentences and tables of plain, unescaped text, which every form of it shows."""

from __future__ import annotations

from typing import Any

from bertpress.reports import certificate_sections, search_sections, waterfall
from bertpress.reports.tables import Figure, Section
from bertpress.tasks.judging import KINDS
from bertpress.values import number, shown, shown_interval, shown_points, shown_speedup, words

Report = dict[str, Any]
READING = (
    "Scores are shown times 100; kept % is the score as a share of the start's. A difference is tested on the same "
    "rows: its interval comes from resampling them 2,000 times (paired bootstrap, percentiles), p from McNemar's exact "
    "test; an interval that covers 0 shows no difference, nor, for accuracy, does a p of 0.05 or more. Both are about "
    "these two models on these rows: another seed may differ by more. A speed-up is start's time over the model's, "
    "both timed in turns (so not the ratio of two ms); if its interval covers 1, there is none. Recovered is "
    "(score - truncated) / (start - truncated), where truncated is the start model cut to as many layers (of "
    "layers of other shapes: to no fewer parameters)."
)


SPEEDUPS = (
    "Theoretical speed-up: multiply-adds of the start, or of what it is set against, over those of the tokens kept.",
    "Executed speed-up: the same of what both models really compute in the timed batches, padding included.",
    "Measured speed-up: time over time, in turns; against itself: over the same model, packed too, that skips nothing.",
)
"""What the speed-ups of a model that skips tokens are."""


def reading(*reports: Report) -> str:
    """How to read the numbers of reports."""
    parts = [READING, *(SPEEDUPS if any(map(_reduced, reports)) else ())]
    parts += [certificate_sections.READING] if any(report["certificates"] for report in reports) else []
    return " ".join([*parts, *([search_sections.READING] if any(report["searches"] for report in reports) else [])])


def findings(report: Report) -> list[str]:
    """What was run, then per step: what it kept, whether the difference is significant, whether it is faster."""
    about = (
        f"{words(report['primary_metric'])} on {words(report['split'])}" if report["primary_metric"] else "no metric"
    )
    sentences = [f"{report['model']} on {report['task']}, {about}, seed {words(report['seed'])}."]
    start = next((row["score"] for row in report["rows"] if row["name"] == "start"), None)
    for row in (row for row in report["rows"] if row["name"] in report["recovered"]):
        name = words(row["name"])
        kept = "no score" if row["score"] is None else f"score {shown(row['score'], scale=100)}"
        if row["retention"] is not None:
            kept += f", {shown(row['retention'], scale=100)} % of the start model's {shown(start, scale=100)}"
        if (share := report["recovered"][row["name"]]) is not None:
            kept += f"; {shown(share, scale=100)} % of what plain truncation loses recovered"
        own = [test for test in report["comparisons"] if test["name"] == row["name"]]
        tested = [f"{name} against {words(test['against'])}: {_verdict(test)}." for test in own]
        searches = [search for search in report["searches"] if search["name"] == row["name"]]
        certificates = [found for found in report["certificates"] if found["name"] == row["name"]]
        said = [sentence for found in certificates for sentence in certificate_sections.finding(found)]
        said += [*_speed(row), *_tokens_kept(row), *map(search_sections.finding, searches)]
        sentences += [f"{name}: {kept}.", *tested, *(f"{name}: {sentence}." for sentence in said)]
    return sentences


def _reduced(report: Report) -> list[dict[str, Any]]:
    """Rows of models that skip tokens."""
    return [row for row in report["rows"] if row.get("token_reduction")]


def _decisions(row: dict[str, Any]) -> list[dict[str, Any]]:
    found = row["token_reduction"].get("kept")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _tokens_kept(row: dict[str, Any]) -> list[str]:
    if not row.get("token_reduction"):
        return []
    means = ", then ".join(f"{shown(number(entry, 'mean'), scale=100)} %" for entry in _decisions(row))
    ratio = _times(number(row["token_reduction"], "theoretical_speedup"))
    return [f"keeps {means or 'all'} of the tokens; theoretical speed-up {ratio}"]


def _verdict(test: dict[str, Any]) -> str:
    return f"{shown_points(test['difference'])} points, 95 % interval {shown_interval(test)}: {_significance(test)}"


def _significance(test: dict[str, Any]) -> str:
    reads = certificate_sections.reading(test)
    return f"a significant {reads}" if test["differs"] else reads


def _speed(row: dict[str, Any]) -> list[str]:
    if not any(number(entry, "speedup_low") is not None for entry in row["latency"]):
        return []
    speeds = ", ".join(f"{_timing(entry)[1]} at batch {words(entry.get('batch'))}" for entry in row["latency"])
    return [f"{'faster' if row['faster'] else 'not faster at every measured setting'}: {speeds}"]


def figures(report: Report) -> list[Figure]:
    """The last step in a few numbers: score kept, difference, parameters and speed-up; nothing without a step."""
    steps = [row for row in report["rows"] if row["name"] in report["recovered"]]
    if not steps:
        return []
    row = steps[-1]
    start: dict[str, Any] = next((row for row in report["rows"] if row["name"] == "start"), {})
    found = []
    if row["retention"] is not None:
        detail = f"{shown(row['score'], scale=100)} of {shown(start['score'], scale=100)}"
        found.append(Figure(f"{shown(row['retention'], scale=100)} %", "of the score kept", detail))
    for test in report["comparisons"]:
        if (test["name"], test["against"]) == (row["name"], "start"):
            detail = f"{shown_interval(test)}: {_significance(test)}"
            found.append(Figure(shown_points(test["difference"]), "points against start", detail))
    if row["parameters"] is not None and (whole := number(start, "parameters")):
        detail = f"{shown(row['parameters'], 1, 1e-6)} of {shown(whole, 1, 1e-6)} million"
        found.append(Figure(f"{shown(row['parameters'] / whole, 0, 100)} %", "of the parameters", detail))
    for entry in row["latency"][-1:]:
        speed, _, interval = _timing(entry)[1].rpartition(" (")
        if speed:
            speed = "none" if speed.startswith("no ") else speed
            found.append(Figure(speed, f"speed-up at batch {words(entry.get('batch'))}", f"({interval}"))
    return found


def sections(report: Report) -> list[Section]:
    """The tables of results, in reading order; empty ones are left out."""
    notes = [["run", words(note)] for note in report["notes"]]
    notes += [[words(row["name"]), words(note)] for row in report["rows"] for note in row["notes"]]
    tables = [_results(report), _tests(report), costs(report["rows"]), waterfall.table(report), *_skipping(report)]
    tables += [*map(search_sections.table, report["searches"]), _sweep(report.get("sweep", {}))]
    tables += [certificate_sections.seeds(report.get("seeds")), *certificate_sections.tables(report["certificates"])]
    tables += [*changes(report["changes"]), _metrics(report), Section("Notes", ["about", "note"], notes, False)]
    return [section for section in tables if section.rows]


def certificate_findings(document: dict[str, Any]) -> list[str]:
    """What a certificate that stands alone says: what was compared, how it ended, what was asked of it."""
    names = {"name": document["result"], "against": document["against"]}
    about = [words(document["task"])]
    about += [f"{words(document['metric'])} on {words(document['split'])}"] if document["test"] else []
    about += [] if document["rows"] is None else [f"{document['rows']:,} rows"]
    said = [f"{words(document['result'])} against {words(document['against'])}: {', '.join(about)}"]
    if document["test"]:
        scores = " against ".join(shown(document["scores"][side], 1, 100) for side in ("result", "other"))
        said.append(f"score {scores}: {_verdict(document['test'])}")
    said += [*certificate_sections.finding(document | names), *map(words, document["notes"])]
    said += _speed(document["costs"][-1])
    return [f"{sentence}." for sentence in (*said, *map(certificate_sections.bound_line, document["bounds"]))]


def certificate_tables(document: dict[str, Any]) -> list[Section]:
    """The tables of a certificate that stands alone; empty ones are left out."""
    names = {"name": document["result"], "against": document["against"]}
    tests = [names | document["test"]] if document["test"] else []
    test = {"comparisons": tests, "primary_metric": document["metric"], "split": document["split"]}
    tables = [certificate_sections.bounds(document["bounds"]), _tests(test), costs(document["costs"])]
    tables += [certificate_sections.seeds(document["seeds"]), *certificate_sections.tables([document | names])]
    tables += changes([names | document["changes"]] if document["changes"] else [])
    return [table for table in tables if table.rows]


def environment(report: Report) -> Section:
    """Versions, device and command line of the run."""
    setup = [[words(name), words(value)] for name, value in report["environment"].items()]
    return Section("Environment", ["name", "value"], setup, False, True)


def overview(report: Report) -> Section:
    """Results and costs as one table, for where there is room for one only."""
    results, paid = _results(report), costs(report["rows"])
    rows = [[*result, *cost[1:]] for result, cost in zip(results.rows, paid.rows, strict=True)]
    timed = paid.caption.partition("; ")[2]
    return Section(results.caption + "; " * bool(timed) + timed, [*results.head, *paid.head[1:]], rows)


def _results(report: Report) -> Section:
    body = []
    for row in report["rows"]:
        cells = [words(row["name"]), shown(row["layers"], 0), shown(row["score"], scale=100)]
        recovered = report["recovered"].get(row["name"])
        body.append([*cells, shown(row["retention"], scale=100), shown(recovered, scale=100)])
    metric = f": {words(report['primary_metric'])} on {words(report['split'])}" if report["primary_metric"] else ""
    return Section(f"Result against start{metric}", ["name", "layers", "score", "kept %", "recovered %"], body)


def _tests(report: Report) -> Section:
    body = []
    for test in report["comparisons"]:
        only = [shown(number(test, side), 0) for side in ("only_result", "only_other")]
        cells = [f"{words(test['name'])} against {words(test['against'])}", shown_points(test["difference"])]
        body.append([*cells, shown_interval(test), _significance(test), *only, _probability(test["p"])])
    head = ["pair", "points", "95 % interval", "reads as", "right only in first", "right only in second", "McNemar p"]
    rows = {f"{test['examples']:,}" for test in report["comparisons"]}
    metric = words(report["primary_metric"])
    return Section(f"Paired tests: {metric} on {words(report['split'])}, {', '.join(sorted(rows))} rows", head, body)


def costs(rows: list[dict[str, Any]]) -> Section:
    """Parameters, multiply-adds, size, time and training of the rows of a report."""
    tokens = sorted({row["tokens"] or 0 for row in rows if row["macs"] is not None})
    settings = [*dict.fromkeys(_setting(entry) for row in rows for entry in row["latency"])]
    head = ["name", "parameters (M)", "encoder (M)"]
    head += [*(f"MACs (M) at {count:g} tokens" if count else "MACs (M)" for count in tokens), "size (MB)"]
    shared = [word for word in (settings or [()])[0][1:] if all(word in setting for setting in settings)]
    names = [", ".join(word for word in setting if word not in shared) for setting in settings]
    head += [f"{column} at {name}" for name in names for column in ("ms", "speed-up")]
    body = []
    for row in rows:
        cells = [words(row["name"]), shown(row["parameters"], 2, 1e-6), shown(row["encoder_parameters"], 2, 1e-6)]
        cells += [shown(row["macs"] if (row["tokens"] or 0) == count else None, 1, 1e-6) for count in tokens]
        timed = {_setting(entry): _timing(entry) for entry in row["latency"]}
        times = [cell for setting in settings for cell in timed.get(setting, ("-", "-"))]
        body.append([*cells, shown(row["size_bytes"], 1, 1e-6), *times, shown(row["seconds"], 0)])
    return Section("Costs" + "; timed: " * bool(shared) + ", ".join(shared), [*head, "training (s)"], body)


def _skipping(report: Report) -> list[Section]:
    """Of models that skip tokens: the kinds of speed-up side by side, and how many tokens go on at each decision."""
    speeds, kept = [], []
    for row in _reduced(report):
        name = words(row["name"])
        for entry in row["latency"]:
            expected = [_times(number(entry, f"{kind}_speedup")) for kind in ("theoretical", "executed")]
            own = {f"speedup{end}": number(entry, "against_itself", f"speedup{end}") for end in ("", "_low", "_high")}
            speeds.append([name, ", ".join(_setting(entry)), *expected, _timing(entry)[1], _timing(own)[1]])
        for entry in _decisions(row):
            shares = [shown(number(entry, key), scale=100) for key in ("mean", "p5", "p50", "p95")]
            kept.append([name, shown(number(entry, "layer"), 0), *shares])
    speedups = ["theoretical", "executed", "measured", "measured against itself"]
    percentiles = ["mean %", "5th percentile", "median", "95th percentile"]
    return [
        Section("Speed-ups of token reduction", ["name", "at", *speedups], speeds),
        Section("Tokens kept, as a share of each row's own", ["name", "before layer", *percentiles], kept),
    ]


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}x"


def _metrics(report: Report) -> Section:
    rows = report["rows"]
    keys = dict.fromkeys((split, key) for row in rows for split in row["metrics"] for key in row["metrics"][split])
    body = [[words(row["name"]), *(shown(number(row["metrics"], *key), scale=100) for key in keys)] for row in rows]
    return Section("All metrics", ["name", *(words(" ".join(key)) for key in keys)], body * bool(keys))


def changes(found: list[dict[str, Any]]) -> list[Section]:
    """How many rows changed, and a folded table of the most changed ones per step and direction."""
    body = [
        [words(change["name"]), *(f"{change[side]['count']:,}" for side in ("worse", "better")), f"{change['rows']:,}"]
        for change in found
    ]
    kinds = [KINDS[change["kind"]] for change in found]
    names = (kinds[0].worse, kinds[0].better) if kinds else ("", "")
    tables = [Section("Rows that changed", ["name", *names, "of rows"], body)]
    for change, kind in zip(found, kinds, strict=True):
        for side in ("worse", "better"):
            examples = change[side]["examples"]
            caption = f"{words(change['name'])}: the {len(examples)} rows most changed for the {side}"
            head = ["row", "label", "start", "result", kind.fit_name, "text"]
            tables.append(Section(caption, head, [_example(example) for example in examples], False, True))
    return tables


def _example(example: dict[str, Any]) -> list[str]:
    texts = example["texts"]
    text = " / ".join(f"{name}: {words(text)}" if len(texts) > 1 else words(text) for name, text in texts.items())
    fit = " to ".join(f"{abs(example[name]):.2f}" for name in ("start_fit", "result_fit"))
    return [str(example["row"]), *(example[name] for name in ("label", "start", "result")), fit, text or "-"]


def _sweep(sweep: dict[str, Any]) -> Section:
    body = []
    for cell in sweep.get("cells") or []:
        mark = " (best, reported here)" if cell.get("folder") == sweep["best"] else ""
        body.append([words(cell.get("settings")) + mark, shown(number(cell, "score"), scale=100)])
    body += [[name, shown(number(sweep, name), scale=100)] for name in ("median", "low", "high") if sweep]
    return Section("Sweep", ["settings", "score"], body)


def _setting(entry: dict[str, Any]) -> tuple[str, ...]:
    """What a latency was measured at, the batch first; not its tokens, a mean that differs a little from row to row."""
    texts = {"batch": "batch {}", "threads": "threads {}", "device": "{}"}
    return tuple(text.format(words(entry[key])) for key, text in texts.items() if entry.get(key) is not None)


def _timing(entry: dict[str, Any]) -> tuple[str, str]:
    """Milliseconds and speed-up. A speed-up whose interval covers 1, or that has none, is not called one."""
    middle, fast, slow = (number(entry, name) for name in ("median_ms", "low", "high"))
    milliseconds = shown(middle, 2) + ("" if fast is None or slow is None else f" ({fast:.2f}-{slow:.2f})")
    ratio, low, high = (number(entry, name) for name in ("speedup", "speedup_low", "speedup_high"))
    return milliseconds, shown_speedup(ratio, low, high)


def _probability(p: float | None) -> str:
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
