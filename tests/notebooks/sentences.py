"""Which sentences claim something, and what stands behind each of them.

**Claiming** is a sentence that an experiment could decide: something is larger, better, faster than something else; it
ends lower; it costs, gains, helps, hurts, wins, fails, diverges; it happens always, never, usually. `CLAIMS` below is
the list of these words and turns. It is a list of words and no reader. The words were chosen by reading the whole book:
those that stand in results are in it, and those that mostly tell how an experiment is set up ("keeps", "needs",
"follows") are not. No claim in this sense are: questions; what you are told to do; what stands in quotation marks; what
the source article says; what a reader may have answered ("If you said ..."); exercises, Predict boxes and tables.

A claiming sentence is **covered** by the first of these that it has:

- *number*: a number of a claim, or another one that a notebook glued, in it (or in its item of a list);
- *source*: a citation or a link to another page, figure or formula, in it (or in its item of a list); or it goes on
  about a paper that its paragraph cites. In a page of the book, a paragraph "**Shown in**" covers its section;
- *check*: in its section, which is what stands between two headings, code checks something: `evidence.confirm`, `assert`,
  a `Claim`, or an error that has to come. A solution is a section of its own;
- *opinion*: it says that it is one, or a guess, or only possible ("may", "likely");
- *formula*: it stands next to a displayed formula, or works something out in it;
- *definition*: it says what a word means;
- *said again*: a sentence that its chapter confirms has the same words, or most of them. So summaries, and sections
  that tell what the verdict checks, need no check of their own.

What this cannot see: a claim in other words than those of the list; a check in the section that checks something else;
a link to a page that does not show it; a formula from which it does not follow; two sentences that share words and
differ in "not". It finds sentences that have nothing at all behind them. Whether what they have is enough, a reader
has to say.

How far the list of words goes was read by hand. Of 170 sentences that it passed over, drawn from sections without a
check, 20 claimed something, and 2 of these had nothing behind them (a few turns were added to the list then). Of 40
that it called claiming, 7 only told how an experiment is set up.
"""

import re
from dataclasses import dataclass, field

import store

COMPARATIVE = """(?:lower|higher|smaller|larger|bigger|better|worse|faster|slower|fewer|less|more|longer|shorter|easier
    |harder|stronger|weaker|closer|nearer|steeper|flatter|sharper|wider|narrower|safer|cheaper|surer|noisier|quieter
    |earlier|later|further|farther|likelier)"""
SUPERLATIVE = """(?:lowest|highest|smallest|largest|best|worst|fastest|slowest|fewest|most|least|closest|steepest
    |flattest|earliest|longest|shortest)"""
IS = """(?:is|are|was|were|be|been|becomes?|became|comes?|came|gets?|got|goes|went|does|did|do|has|have|had)"""
ENDS = """(?:ends?|ended|stays?|stayed|lies|lie|lay|arrives?|arrived)"""
SOMEWHAT = r"""(?:not|no|far|much|a\ little|even|often|always|still|simply|clearly|somewhat|also|again|never|hardly
    |slightly|the|only|\d+|times|twice|just|as|by|at|always)"""
RESULT = r"""(?:wins|won|beats|loses|lost|helps|helped|hurts?|costs|cost|gains|gained|saves|saved|pays|paid|fails?|failed
    |suffers?|suffered|diverges?|diverged|converges?|converged|overflows?|overflowed|explodes?|exploded|blows?\ up
    |blew\ up|improves?|improved|overfits?|overfitted|generali[sz]es?|matters|mattered|works|worked|suffices?
    |falls|fell|rises|rose|grows|grew|shrinks|shrank|slows|slowed|survives?|survived|lowers|lowered|raises|raised
    |drops|dropped|climbs|climbed|depends?|decides|decided|catch(?:es)?\ up|caught\ up|repairs|repaired|prevents?
    |increases|increased|decreases|decreased|reduces|reduced
    |pulls|limits|limited|widens|arrives)"""
# The plural, and not what somebody can do, must do, or is told to do.
NOT_TOLD = "".join(
    rf"(?<!\b{word}\ )"
    for word in """to can cannot may might will would could should must not let it its them you we the a and""".split()
)
CLAIMS = re.compile(
    rf"""(?xi)
    \b{COMPARATIVE}\b[^.;:]{{0,60}}?\bthan\b | \b{COMPARATIVE}\s+(?:and|or)\s+{COMPARATIVE}\b
    | \b(?:{IS}|{ENDS})\s+(?:{SOMEWHAT}\s+){{0,3}}(?:{COMPARATIVE}|{SUPERLATIVE})\b
    | \b{ENDS}\b[^.;:]{{0,40}}\b(?:above|below|behind|ahead|apart|together|badly|well)\b
    | \b(?:always|never|usually|often|seldom|rarely|mostly|typically|hardly|in\ practice|in\ general)\b
    | \b(?:nearly|almost)\s(?:all|every|always|everything|nothing|never|none)\b | \bmost\ of\b
    | \btimes\ (?:as|{COMPARATIVE})\b | \b(?:twice|half)\ as\b
    | \bas\ (?:fast|good|far|often|much|sure)\ as\b | \bby\ (?:the|a)\ factor\ of\b
    | \bno\ (?:difference|effect|better|worse|gain|price)\b | \bnext\ to\ nothing\b
    | \bma(?:k|d)es?\s(?:\w+\s){{1,3}}(?:{COMPARATIVE}|difference)\b
    | \b(?:needs?|needed|takes?|took|gives?|gave|finds?|found|leaves?|left|gets?|wants?|wanted|chose|chooses?)
      \s+(?:\w+\s+){{0,2}}?{COMPARATIVE}\b
    | \b(?:is|are|was|were)\ (?:\w+\ ){{0,2}}?(?:behind|ahead|level\ with|alike|gone)\b
    | \b(?:moves?|moved|lands?|landed|travels?|travelled|comes?|came)\s(?:\w+\s){{0,2}}?{COMPARATIVE}\b
    | \b(?:did|does)\ (?:not|no)\ (?:harm|help|hurt|lower|raise|change|replace|matter|improve|fall|rise|gain|cost|pay|beat
      |lose|win|end|reach|catch|shrink|grow|diverge|converge)\b
    | \b{RESULT}\b
    | {NOT_TOLD}\b(?:help|save|gain|lose|win|pay|rise|grow|matter|suffer|beat|explode)\b"""
)
# The words are also nouns, or say no more than how an experiment goes.
NO_CLAIM = re.compile(
    r"(?i)\b(?:how (?:often|far|much|well|many)(?: [\w-]+){0,2}|as usual|the (?:cost|costs|falls|pulls)|as often as you like|no more than|"
    r"more than one|never mind|in the long run|what (?:it|that|this|each|(?:the|an?) \w+) costs?|must never|never (?:met|seen|trained)|repeat the experiment often|"
    r"best (?:of|on|for)\b[^.]*\b(?:tuning|validation))\b|\"[^\"]*\"|“[^”]*”"
)
IMPERATIVES = """add ask be begin call choose close compare compute copy decide derive divide do draw enlarge expect
    explain find fit forget give go halve hold imagine judge keep know lay leave let lift look make move multiply never note
    pick picture predict print put raise read refuse remember repeat replace report rewind run save say see show skip
    suppose take tell think treat trust try turn use wait watch write""".split()
# These are also nouns or adjectives, so an object has to follow.
AMBIGUOUS = """average change check count cut double limit lower measure plot repair scale set split start stop test
    train tune warm""".split()
OBJECT = "(?:the|an?|it|them|your|this|that|each|every|all|with|from|at|when|to|both|in|by|one|up|on|where|for|until)"
VERB_FIRST = re.compile(
    rf"(?i)(?:(?:so|then|and|but|now|therefore|first|next)[ ,]+)*(?:(?:if|when(?:ever)?|where|before|to|with|on)\b[^,]*, )?"
    rf"(?:(?:{'|'.join(IMPERATIVES)})\b|(?:{'|'.join(AMBIGUOUS)}) {OBJECT}\b)"
)
NOT_OURS = re.compile(
    r"(?i)\barticle\b|\bif you (?:said|drew|wrote|guessed|answered)\b|\bno chapter\b|\bwe (?:cannot|do not) (?:say|know|tell)\b|"
    r"\bif the whole interval\b|\byou will (?:see|find|measure)\b"
)
NUMBER = re.compile(r"\{(?:claim|glue|glue:\w+)\}`")
SOURCE = re.compile(
    r"\{(?:cite|cite:\w+|doc|eq|ref|numref|py:\w+|func|class|meth|mod)\}`|(?<!!)\[[^\]]+\]\([^)]+\)"
)
CITED = re.compile(r"\{cite(?::\w+)?\}`")
GOES_ON = re.compile(r"\b(?:et al\.|[Tt]he authors?|[Tt]hey|[Tt]he paper)\b")
OPINION = re.compile(
    r"(?i)\b(?:we think|we believe|we suspect|we expect|we would|in our view|our advice|our guess|a guess|as a rule of thumb|"
    r"rule of thumb|opinion|our experience|would (?:have )?expect(?:ed)?|may|might|perhaps|probably|likely|seems?)\b"
)
WORKED = re.compile(r"\$[^$]*(?:=|<|>|\\le|\\ge|\\approx|\\propto|\\sim|\\cdot|/| [-+] )[^$]*\$")
DEFINITION = re.compile(
    r"(?i)\b(?:is|are) called\b|\bwe call\b|\bmeans (?:that|better|worse)\b|\bby definition\b|\bcounts as\b|"
    r"\*\*\{term\}|\*\*\w[^*]*\*\* \([一-鿿]|\([一-鿿]+, \*\*|^[\w -]+ \([^)]*[一-鿿]|^- \*\*[^*.]+\*\*:"
)

HEADING = re.compile(r"#{1,6} +(.*)")
FENCE = re.compile(r"(?:`{3,}|:{3,})(?:\{([\w-]+)\} *(.*)|(\w+))?\s*$")
ITEM = re.compile(r"\s*(?:[-*]|\d+\.) +")
STARTS = re.compile(rf"{ITEM.pattern}|\||\$\$|\(\S+\)=$|:\w+:")
NO_TEXT = """image literalinclude bibliography ledger replications chapter-map chapter-table
    tableofcontents""".split()
NO_CLAIMS_IN = {"exercise", "admonition"}
CHECK = re.compile(r"\bconfirm\(|^\s*assert\b|\bClaim\(", re.MULTILINE)
CONFIRMED = re.compile(r"^Confirmed: (.+)$", re.MULTILINE)
# Behind a full stop, in front of something that begins a sentence.
END = re.compile(
    r"(?<=[.!?])[*)\"”]*\s+(?=[A-Z{*\[$`(“\"0-9])|(?<=[.!?]\*)\s+|(?<=[.!?]\*\*)\s+|(?<=[.!?]\))\s+"
)
ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|et al|vs)\.$")
KINDS = ("number", "source", "check", "opinion", "formula", "definition", "said again")
LITTLE = set(
    """after again all also and any are because been before behind both but can could did does each even every for from
    had has have here how into its many more most much nor not now off one only other our out over own same should some
    such than that the their them then there these they this those too two under very was way were what when where
    which who why will with would yet you your""".split()
)


@dataclass
class Section:
    """What stands between two headings. An exercise and a solution are sections of their own."""

    title: str
    paragraphs: list = field(default_factory=list)  # (number of the cell, name of the box, text)
    checked: bool = False


@dataclass
class Sentence:
    place: str
    text: str
    by: str  # what covers it, "" if nothing


def sections(cells):
    """Cut the cells of a page, its (text or code, source, checks) in turn, into sections."""
    found, title, boxes, lines, skipping = [Section("")], "", [], [], False

    def end_paragraph(number):
        text = " ".join(line.strip() for line in lines).strip()
        if text:
            found[-1].paragraphs.append((number, boxes[-1] if boxes else "", text))
        lines.clear()

    for number, (kind, source, checks) in enumerate(cells):
        if kind == "code":
            found[-1].checked |= checks
            continue
        for line in source.split("\n"):
            fence, heading = FENCE.match(line), HEADING.match(line)
            if skipping:
                skipping = not (fence and not fence[1] and not fence[3])
            elif fence:
                end_paragraph(number)
                name = fence[1] or ""
                if name.endswith(("-start", "-end")):
                    inside = name.removesuffix("-start") if name.endswith("-start") else ""
                    label = f", {inside} {fence[2]}".rstrip() if inside else ""
                    found.append(Section(title + label))
                    boxes = [inside] if inside else []
                    skipping = True  # its options
                elif name in NO_TEXT or (not name and line.startswith("`")):
                    skipping = True
                elif name:
                    boxes.append(name)
                elif boxes:
                    boxes.pop()
            elif heading:
                end_paragraph(number)
                title = heading[1]
                found.append(Section(title))
            else:
                if not line.strip() or (
                    STARTS.match(line) and not (lines and lines[0].startswith("$$"))
                ):
                    end_paragraph(number)
                lines.append(line)
        end_paragraph(number)
    return found


def split(paragraph):
    """The sentences of a paragraph."""
    pieces, start = [], 0
    for end in END.finditer(paragraph):
        before = paragraph[start : end.start()]
        if before.count("$") % 2 or before.count("`") % 2 or ABBREVIATION.search(before):
            continue
        pieces.append(paragraph[start : end.end()].strip())
        start = end.end()
    return [piece for piece in (*pieces, paragraph[start:].strip()) if piece]


def words(sentence):
    """A sentence without code, mathematics, roles, and targets of links."""
    sentence = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", sentence)
    sentence = re.sub(r"\{term\}`([^`<]*)(?:<[^`]*>)?`", r"\1", sentence)
    sentence = re.sub(r"\[([^\]]*)\]\([^)]+\)", r"\1", sentence)
    sentence = re.sub(r"\{[\w:]+\}`[^`]*`", "7", sentence)
    return re.sub(r"\$[^$]+\$|`[^`]*`", "x", sentence).replace("*", "")


def claims(sentence):
    said = re.sub(r"^[\s(]*(?:\d+\.|-)?[\s(]*", "", words(sentence))
    if said.rstrip(')"').endswith("?") or VERB_FIRST.match(said) or NOT_OURS.search(said):
        return False
    return bool(CLAIMS.search(NO_CLAIM.sub(" ", said)))


def stems(text):
    """The words that say something, without their endings: a plural is its singular."""
    found = set(re.findall(r"[a-z]{3,}", words(text).lower())) - LITTLE
    return {word.rstrip("s")[:5] for word in found}


def said_in(sentence, confirmed):
    """Whether a confirmed sentence has the same words: all of its own, or at least three and more than half."""
    mine = stems(sentence)
    for other in confirmed:
        theirs = stems(other)
        shared = len(mine & theirs)
        if shared >= 2 and (shared == len(theirs) or (shared >= 3 and shared > len(theirs) / 2)):
            return True
    return False


def covered_by(sentence, paragraph, section, near_formula, confirmed):
    whole = paragraph if ITEM.match(paragraph) else sentence
    if NUMBER.search(whole):
        return "number"
    goes_on = CITED.search(paragraph) and GOES_ON.search(sentence)
    shown = any(text.startswith("**Shown in**") for _, _, text in section.paragraphs)
    if SOURCE.search(whole) or goes_on or shown:
        return "source"
    if section.checked:
        return "check"
    if OPINION.search(words(sentence)):
        return "opinion"
    if near_formula or WORKED.search(whole):
        return "formula"
    if DEFINITION.search(sentence):
        return "definition"
    return "said again" if said_in(sentence, confirmed) else ""


def claiming(name, cells, confirmed=()):
    """The claiming sentences of a page, each with what covers it."""
    for section in sections(cells):
        paragraphs = section.paragraphs
        for place, (number, box, text) in enumerate(paragraphs):
            if box in NO_CLAIMS_IN or text.startswith(("|", "$$")):
                continue
            beside = paragraphs[max(0, place - 1) : place + 2]
            near = any(other.startswith("$$") for cell, _, other in beside if cell == number)
            for sentence in split(text):
                if claims(sentence):
                    by = covered_by(sentence, text, section, near, confirmed)
                    yield Sentence(f"{name}, cell {number}, {section.title!r}", sentence, by)


def of_markdown(name, text):
    return list(claiming(name, [("markdown", text, False)]))


def of_notebook(name, text):
    cells = store.read(text).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    confirmed = {
        sentence
        for output in outputs
        for sentence in CONFIRMED.findall(
            output.get("text") or output.get("data", {}).get("text/plain", "")
        )
    }
    parts = [
        (
            cell.cell_type,
            cell.source,
            bool(CHECK.search(cell.source)) or "raises-exception" in cell.metadata.get("tags", []),
        )
        for cell in cells
    ]
    return list(claiming(name, parts, confirmed))
