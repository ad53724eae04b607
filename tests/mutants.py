"""Plant faults in the library and compare those that no test finds with tests/mutants.md, which says why.

    python tests/mutants.py [PATTERN...]    such as "trainlab.files*"; without one, the page is
    brought up to date

Call it through `make mutants`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from itertools import accumulate
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "tests" / "mutants.md"
WORK = ROOT / "_build" / "mutants"
NEW = "Not explained yet."
FOUND = ("killed", "timeout", "segfault")
TYPED = tuple(
    f"trainlab.{module}"
    for module in ("checks", "evidence", "losses", "numerics", "optimizers", "schedules")
)
STATS = WORK / "mutants" / "mutmut-stats.json"  # mutmut's: which tests reach a function
TRIED = WORK / "tried_with_every_test.json"
# Where a module's tests are, if not in the file of its name. A fault is tried with those first.
TESTED_IN = {
    "batches": ("trainer", "own_examples"),
    "evidence": ("evidence", "contests", "claims", "races", "calibration"),
    "history": ("trainer",),
    "models": ("models", "buffers"),
    "progress": ("progress", "sweep"),
    "replicas": ("trainer",),
    "trainer": ("trainer", "own_examples"),
}
SECONDS = 15  # of them, the quickest first
IN_ONE_PROCESS = """
import functools
import joblib.parallel
import trainlab.identity
joblib.parallel.BACKENDS["loky"] = joblib.parallel.BACKENDS["threading"]
read = trainlab.identity.package_of.__wrapped__
by_name = lambda name: "trainlab" if str(name).partition(".")[0] in ("trainlab", "mutmut") else read(name)
trainlab.identity.package_of = functools.cache(by_name)
"""
BULLET = re.compile(r"^- `(.+?)`: (?:`` (.*) ``|(\d+))$", re.MULTILINE)
LAYOUT = re.compile(r"\s|,(?=\s*[)\]}])")  # what a formatter adds to a line and takes away
LAST_RUN = re.compile(r"^The last whole run .*", re.MULTILINE)


def stage():
    """Copy what mutmut needs: a folder of its own with src/ and tests/ in it. What it found out earlier stays."""
    for old in ("src", "tests", "mutants/tests"):
        shutil.rmtree(WORK / old, ignore_errors=True)
    shutil.copytree(ROOT / "lib" / "trainlab", WORK / "src" / "trainlab")
    shutil.copytree(ROOT / "tests" / "library", WORK / "tests")
    (WORK / "tests" / "test_package.py").unlink()  # which packs the files of the project's root
    # A copy of each function for each of its faults is too much to read for a fingerprint: here the
    # library's code counts by its name, and the tests of what is read there are left out by the
    # configuration. And joblib's processes are threads: mutmut waits for its own processes, and
    # would wait for those for ever.
    with open(WORK / "tests" / "conftest.py", "a", encoding="utf-8") as file:
        file.write(IN_ONE_PROCESS)
    (WORK / "mutants" / "src").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "tests" / "mutants.cfg", WORK / "setup.cfg")


def results(patterns):
    """How each fault ended, by mutmut's name for it, and its file."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.file_utils import walk_mutatable_files

    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        for name, code in data.exit_code_by_key.items():
            if not patterns or any(fnmatch(name, pattern) for pattern in patterns):
                yield name, path, status_by_exit_code[code]


def narrowed(tests, seconds):
    """Of the tests that reach each function those of its own module, the quickest up to so many seconds; all if there are none.

    >>> tests = {"trainlab.losses.x_a": ["tests/test_losses.py::t", "tests/test_losses.py::u", "tests/test_types.py::v"]}
    >>> narrowed(tests, {"tests/test_losses.py::t": 9, "tests/test_losses.py::u": 7})
    {'trainlab.losses.x_a': ['tests/test_losses.py::u']}
    """
    found = {}
    for function, its in tests.items():
        module = function.split(".")[1]
        files = tuple(f"tests/test_{name}.py" for name in TESTED_IN.get(module, (module,)))
        own = sorted((test for test in its if test.startswith(files)), key=seconds.get)
        total = list(accumulate(seconds[test] for test in own))
        found[function] = [test for test, sum in zip(own, total) if sum <= SECONDS] or its
    return found


def change_ends(change):
    """Change how faults ended: `change` gets a fault's name and its code, and returns the new code."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.utils.file_utils import walk_mutatable_files

    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        ends = data.exit_code_by_key
        data.exit_code_by_key = {name: change(name, code) for name, code in ends.items()}
        data.save()


def try_all(patterns):
    """Try every fault that is left; return mutmut's status if it cannot go on."""
    command, left = [sys.executable, "-m", "mutmut", "run", "--max-children", "2", *patterns], None
    # A fault that starts processes of its own may end the run; started again, it goes on behind
    # that fault.
    while status := subprocess.run(command).returncode:
        before, left = left, sum(end == "not checked" for _, _, end in results(patterns))
        if left == before or not left:
            return status
    return 0


def try_twice():
    """Try every fault with its module's own tests, and what survives them and is not explained with every test that reaches it.

    To collect a thousand tests takes longer than to find a fault with the first of them.
    """
    if not STATS.exists() and (status := try_all(["trainlab.progress*"])):
        return status
    stats = json.loads(STATS.read_text())
    tried = set(json.loads(TRIED.read_text())) if TRIED.exists() else set()
    every = stats["tests_by_mangled_function_name"]
    stats["tests_by_mangled_function_name"] = narrowed(every, stats["duration_by_test"])
    STATS.write_text(json.dumps(stats))
    try:
        status = try_all([])
    finally:
        stats["tests_by_mangled_function_name"] = every
        STATS.write_text(json.dumps(stats))
    if status:
        return status
    try_types(sorted(not_explained(survivors([])) - tried))
    left = not_explained(survivors([])) - tried
    change_ends(lambda name, code: None if code == 0 and name in left else code)
    status = try_all([])
    TRIED.write_text(json.dumps(sorted(tried | left)))
    return status


def survivors(patterns):
    """From mutmut's name of each fault that was tried and not found to what the page says of it."""
    return {
        name: described(name, path)
        for name, path, end in results(patterns)
        if end not in (*FOUND, "not checked")
    }


def not_explained(faults):
    """The names of those that the page does not explain; if it explains some of several alike, of all of these."""
    new = Counter(compare(PAGE.read_text("utf-8"), list(faults.values()))[1])
    return {name for name, fault in faults.items() if new[fault]}


def described(name, path):
    """The function of a fault and its changed line, as the page has them."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.utils.format_utils import (
        get_module_from_key,
        mangled_name_from_mutant_name,
        parse_mutant_key,
    )

    mangled = mangled_name_from_mutant_name(name)
    module = get_module_from_key(mangled)
    function, owner = parse_mutant_key(mangled[len(module) + 1 :])
    place = ".".join(filter(None, [module.removeprefix("trainlab."), owner, function]))
    lines = get_diff_for_mutant(name, path=path).split("\n")[3:]
    changed = [line[1:].strip() for line in lines if line.startswith("+")]
    return place, " ".join(changed) or "nothing, instead of " + " ".join(
        line[1:].strip() for line in lines if line.startswith("-")
    )


def try_types(names):
    """Try faults with the tests of every type, which are too slow to try on all: those that they find count as found."""
    with ThreadPoolExecutor(2) as pool:
        found = {name for name, late in zip(names, pool.map(found_by_types, names)) if late}
    change_ends(lambda name, code: 1 if name in found else code)


def found_by_types(name):
    """Whether the tests of every type find a fault."""
    if not name.startswith(TYPED):
        return False
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "types and not has_a_row",
        "tests",
    ]
    surroundings = {**os.environ, "MUTANT_UNDER_TEST": name}
    return (
        subprocess.run(
            command, cwd=WORK / "mutants", env=surroundings, capture_output=True, timeout=600
        ).returncode
        == 1
    )


def compare(page, survivors):
    """Match the survivors with the bullets of the page: return those still true by reason, and what none explains.

    How a line is laid out does not matter.

    >>> page = "## 2: Same values.\\n\\n- `f`: `` x = f(1) ``\\n- `g`: `` y = 2 ``\\n\\n## 9: Looks.\\n\\n- `h`: 9\\n"
    >>> compare(page, [("f", "x = f( 1, )"), ("f", "x = f(1)"), ("h", "z"), ("h", "w")])
    ({'Same values.': ['- `f`: `` x = f( 1, ) ``'], 'Looks.': ['- `h`: 2']}, [('f', 'x = f(1)')])
    """
    left, kept = Counter(survivors), {}
    spelled: dict = {}
    for place, line in left:
        spelled.setdefault((place, LAYOUT.sub("", line)), []).append(line)
    for part in re.split(r"^## \d+: ", page, flags=re.MULTILINE)[1:]:
        reason = part.partition("\n")[0]
        if reason == NEW:
            continue
        kept[reason] = []
        for place, line, number in BULLET.findall(part):
            found = spelled.get((place, LAYOUT.sub("", line)), [])
            if now := next((now for now in sorted(found) if left[place, now]), None):
                left[place, now] -= 1
                kept[reason].append(f"- `{place}`: `` {now} ``")
            elif number:
                its = list(
                    Counter(
                        {key: count for key, count in left.items() if key[0] == place}
                    ).elements()
                )[: int(number)]
                left -= Counter(its)
                kept[reason] += [f"- `{place}`: {len(its)}"] if its else []
    return kept, sorted(left.elements())


def rewritten(page, run, kept, new):
    """The page with this run's numbers, without the faults that are found now, and with the new ones at its end."""
    text = LAST_RUN.sub(lambda _: run, page.partition("\n## ")[0]).rstrip() + "\n"
    for reason, bullets in {
        **kept,
        NEW: [f"- `{place}`: `` {line} ``" for place, line in new],
    }.items():
        count = sum(int(match[3] or 1) for match in map(BULLET.match, bullets))
        if bullets:
            text += f"\n## {count}: {reason}\n\n" + "\n".join(bullets) + "\n"
    return text


def main(patterns):
    import mutmut

    stage()
    os.chdir(WORK)
    paths = [str(WORK / "mutants" / "src"), str(Path(mutmut.__file__).parents[1])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    if status := try_all(patterns) if patterns else try_twice():
        return status
    if patterns:
        try_types(sorted(not_explained(survivors(patterns))))
    ends = list(results(patterns))
    count = Counter(end for _, _, end in ends)
    faults = list(survivors(patterns).values())
    page = PAGE.read_text("utf-8")
    kept, new = compare(page, faults)
    print("\n".join(f"- `{place}`: `` {line} ``" for place, line in new))
    tried, found = (len(ends) - count["not checked"], sum(count[end] for end in FOUND))
    if not patterns and not count["not checked"]:
        run = (
            f"The last whole run tried {tried:,} faults: **{found:,} were found ({found / tried:.1%}), "
            f"{count['timeout']} of them by running out of time, and {len(faults)} were not.**"
        )
        PAGE.write_text(rewritten(page, run, kept, new), "utf-8")
        print(
            f"{PAGE.relative_to(ROOT)} is up to date: read its `git diff`, and move what is not explained yet below its reason."
        )
    if count["not checked"]:
        print(
            f"{count['not checked']} faults were not tried: run it again, and it goes on where it was."
        )
    print(
        f"{tried} faults, {found} found, {len(faults)} survivors, {len(new)} of them not explained in tests/mutants.md"
    )
    return 1 if new or count["not checked"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
