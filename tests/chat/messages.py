"""Ways in which people state a problem, with what each is to be read as.

Each row: a name, the message, the entry point (None for a whole program), and the tests as `CALL -> VALUE`,
`STDIN => STDOUT` or the code of a script.
"""
# ruff: noqa: E501

from bdc_agents.types import CallTest, StdinTest, TestCase

FENCE = "```"


def shown(test: TestCase) -> str:
    if isinstance(test, CallTest):
        setup = f"{test.setup.strip()}; " if test.setup.strip() else ""
        return f"{setup}{test.call} -> {test.expected[0]}"
    if isinstance(test, StdinTest):
        return f"{test.stdin.strip()} => {test.expected[0].strip()}"
    return test.code


STATED: list[tuple[str, str, str | None, list[str]]] = [
    (
        "should be",
        "Write double(n), which returns twice n. double(2) should be 4.",
        "double",
        ["double(2) -> 4"],
    ),
    (
        "two in one sentence",
        "Write f. f(2) should be 4 and f(3) should be 6.",
        "f",
        ["f(2) -> 4", "f(3) -> 6"],
    ),
    ("backticks", "Write `double`. `double(2)` should be `4`.", "double", ["double(2) -> 4"]),
    ("bold", "Implement double(n). `double(2)` is **4**", "double", ["double(2) -> 4"]),
    ("full stop", "double(n) doubles a number: double(2) returns 4.", "double", ["double(2) -> 4"]),
    ("decimal", "half(n) halves: half(3) should return 1.5.", "half", ["half(3) -> 1.5"]),
    ("arrow", "Write double\ndouble(2) -> 4\ndouble(3) -> 6", "double", ["double(2) -> 4", "double(3) -> 6"]),
    (
        "unicode arrow",
        "Write double\n- double(2) \u2192 4\n- double(3) \u21d2 6",
        "double",
        ["double(2) -> 4", "double(3) -> 6"],
    ),
    ("fat arrow", "double: double(2) => 4", "double", ["double(2) -> 4"]),
    ("equals sign", "I need double(n). double(2) = 4", "double", ["double(2) -> 4"]),
    ("equality", "I need double(n).\n\ndouble(2) == 4", "double", ["double(2) -> 4"]),
    (
        "comment",
        "Please write double:\ndouble(2)  # 4\ndouble(3)  # => 6",
        "double",
        ["double(2) -> 4", "double(3) -> 6"],
    ),
    ("colon", "Write double.\ndouble(2): 4\ndouble(3): 6", "double", ["double(2) -> 4", "double(3) -> 6"]),
    (
        "table",
        "Write double.\n\n| call | value |\n|---|---|\n| double(2) | 4 |\n| double(3) | 6 |",
        "double",
        ["double(2) -> 4", "double(3) -> 6"],
    ),
    (
        "numbered",
        "Write double.\n1. double(2) gives 4\n2. double(3) gives 6",
        "double",
        ["double(2) -> 4", "double(3) -> 6"],
    ),
    ("expected to", "I expect double(2) to be 4, so write it", "double", ["double(2) -> 4"]),
    ("supposed to", "Write double; double(2) is supposed to return 4", "double", ["double(2) -> 4"]),
    ("must", "Write double. double(2) must equal 4!", "double", ["double(2) -> 4"]),
    (
        "lists",
        "Write top(xs). top([3, 1, 2]) should return [3, 2, 1]",
        "top",
        ["top([3, 1, 2]) -> [3, 2, 1]"],
    ),
    ("nested call text", "Write rev(s): rev('a(b') should be 'b(a'", "rev", ["rev('a(b') -> 'b(a'"]),
    (
        "smart quotes",
        "Write rev(s): rev(\u201cab\u201d) should be \u201cba\u201d",
        "rev",
        ['rev("ab") -> "ba"'],
    ),
    (
        "booleans",
        "is_even(2) should be True, is_even(3) should be False",
        "is_even",
        ["is_even(2) -> True", "is_even(3) -> False"],
    ),
    ("JSON words", "is_even(2) should be true", "is_even", ["is_even(2) -> True"]),
    ("none", "find([], 1) should return None", "find", ["find([], 1) -> None"]),
    ("set", "letters('aab') returns {'a', 'b'}", "letters", ["letters('aab') -> {'a', 'b'}"]),
    ("keyword arguments", "power(base=2, exp=3) should be 8", "power", ["power(base=2, exp=3) -> 8"]),
    ("negative", "neg(1) should be -1, neg(-2) is 2", "neg", ["neg(1) -> -1", "neg(-2) -> 2"]),
    ("explained", "f(2) should be 4 (twice two)", "f", ["f(2) -> 4"]),
    (
        "formula",
        "fib(n) = fib(n-1) + fib(n-2), fib(0) = 0 and fib(1) = 1. fib(2) = fib(1) + fib(0)",
        "fib",
        ["fib(0) -> 0", "fib(1) -> 1"],
    ),
    ("corrected", "Write f. Mine is broken: f(2) returns 3 but should return 4", "f", ["f(2) -> 4"]),
    ("instead of", "Write f; f(2) gives 5 instead of 4", "f", ["f(2) -> 4"]),
    ("should, not", "f(2) should be 4, not 5", "f", ["f(2) -> 4"]),
    (
        "class method",
        "Solution().two_sum([2, 7], 9) should be [0, 1]",
        "Solution().two_sum",
        ["Solution().two_sum([2, 7], 9) -> [0, 1]"],
    ),
    ("assert line", "Write double\nassert double(2) == 4", "double", ["double(2) -> 4"]),
    (
        "asserts in bullets",
        "Write double\n- assert double(2) == 4\n- assert double(3) == 6",
        "double",
        ["double(2) -> 4", "double(3) -> 6"],
    ),
    (
        "assert over lines",
        "Write top\nassert top(\n    [1, 2],\n) == [2, 1]",
        "top",
        ["top(\n    [1, 2],\n) -> [2, 1]"],
    ),
    (
        "session",
        "Write double\n\n>>> double(2)\n4\n>>> double(3)\n6\n",
        "double",
        ["double(2) -> 4", "double(3) -> 6"],
    ),
    (
        "indented session",
        "Write double:\n\n    >>> double(2)\n    4\n\nThanks!",
        "double",
        ["double(2) -> 4"],
    ),
    (
        "fenced asserts",
        f"Write double.\n{FENCE}python\nassert double(2) == 4\nassert double(3) == 6\n{FENCE}",
        "double",
        ["double(2) -> 4", "double(3) -> 6"],
    ),
    ("fenced session", f"Write double.\n{FENCE}\n>>> double(2)\n4\n{FENCE}", "double", ["double(2) -> 4"]),
    (
        "fence without end",
        f"Write double.\n{FENCE}python\nassert double(2) == 4",
        "double",
        ["double(2) -> 4"],
    ),
    ("tildes", "Write double.\n~~~\nassert double(2) == 4\n~~~", "double", ["double(2) -> 4"]),
    (
        "fenced equalities",
        f"Write double.\n{FENCE}python\ndouble(2) == 4\ndouble(3) == 6\n{FENCE}",
        "double",
        ["double(2) -> 4", "double(3) -> 6"],
    ),
    (
        "fenced arrows",
        f"Write double.\n{FENCE}\ndouble(2) -> 4\ndouble(3) -> 6\n{FENCE}",
        "double",
        ["double(2) -> 4", "double(3) -> 6"],
    ),
    (
        "fenced comments",
        f"Write double.\n{FENCE}python\ndouble(2)  # 4\ndouble(3)  # returns 6\n{FENCE}",
        "double",
        ["double(2) -> 4", "double(3) -> 6"],
    ),
    (
        "docstring",
        f'Fill this in:\n{FENCE}python\ndef double(n):\n    """Twice n.\n\n    >>> double(2)\n    4\n    """\n{FENCE}',
        "double",
        ["double(2) -> 4"],
    ),
    (
        "stub and asserts",
        f"{FENCE}python\ndef double(n):\n    pass\n\nassert double(2) == 4\n{FENCE}",
        "double",
        ["double(2) -> 4"],
    ),
    (
        "head alone",
        f"Complete it. double(2) should be 4\n{FENCE}python\ndef double(n: int) -> int:\n{FENCE}",
        "double",
        ["double(2) -> 4"],
    ),
    (
        "unfenced definition",
        "Complete this:\ndef double(n):\n    ...\n\ndouble(2) should be 4",
        "double",
        ["double(2) -> 4"],
    ),
    (
        "method stub",
        f"{FENCE}\nclass Solution:\n    def two_sum(self, nums, target):\n        ...\n{FENCE}\nInput: nums = [2, 7], target = 9\nOutput: [0, 1]",
        "Solution().two_sum",
        ["Solution().two_sum(nums = [2, 7], target = 9) -> [0, 1]"],
    ),
    (
        "a name as an argument",
        "Write happy(s). For example:\nhappy(a) => False\nhappy('ab') => True",
        "happy",
        ["happy('ab') -> True"],
    ),
    (
        "a contest with functions",
        "Let f(x) be x squared.\n\nInput\n\nThe first line holds n.\n\nOutput\n\nPrint f(n).\n\nExample\n\nInput\n\n3\n\nOutput\n\n9\n",
        None,
        ["3 => 9"],
    ),
    (
        "a word that is called something",
        "A string is called repeating if it repeats. Read a word and make sure to print yes or no.\nInput: abab\nOutput: yes",
        None,
        ["abab => yes"],
    ),
    (
        "JSON words in a pair",
        f"{FENCE}python\ndef even(n):\n    ...\n{FENCE}\nInput: 2\nOutput: true",
        "even",
        ["even(2) -> True"],
    ),
    ("input and output", "Read two numbers and print their sum.\nInput: 2 3\nOutput: 5", None, ["2 3 => 5"]),
    (
        "input and output in a line",
        "Read two numbers, print the sum. Input: 2 3 Output: 5",
        None,
        ["2 3 => 5"],
    ),
    (
        "inputs in bullets",
        "Print the sum.\n- Input: 2 3, Output: 5\n- Input: 1 1, Output: 2",
        None,
        ["2 3 => 5", "1 1 => 2"],
    ),
    ("blocks", "Sum the numbers that you read.\n\nInput\n2\n1 2\n\nOutput\n3\n", None, ["2\n1 2 => 3"]),
    (
        "a contest",
        "Read n.\n\nInput\nThe first line has a number n of tests.\n\nOutput\nPrint the square of n for each test.\n\nSample Input 1:\n3\n\nSample Output 1:\n9\n",
        None,
        ["3 => 9"],
    ),
    (
        "fenced blocks",
        f"Print the sum.\n\nInput:\n{FENCE}\n2 3\n{FENCE}\nOutput:\n{FENCE}\n5\n{FENCE}",
        None,
        ["2 3 => 5"],
    ),
    (
        "arrows of numbers",
        "Read two numbers and print the sum.\n2 3 -> 5\n1 1 -> 2",
        None,
        ["2 3 => 5", "1 1 => 2"],
    ),
    (
        "arrows below a heading",
        "Print the word in capitals.\n\nExamples:\nhello -> HELLO\nok -> OK",
        None,
        ["hello => HELLO", "ok => OK"],
    ),
    ("arguments by arrows", "Write add(a, b), the sum.\n2, 3 -> 5", "add", ["add(2, 3) -> 5"]),
    (
        "for it should",
        "Write total(xs), the sum. For [1, 2] it should return 3, and for the empty list it should return 0.",
        "total",
        ["total([1, 2]) -> 3", "total([]) -> 0"],
    ),
    (
        "function called",
        "Write a function called total.\nInput: [1, 2]\nOutput: 3",
        "total",
        ["total([1, 2]) -> 3"],
    ),
    (
        "JSON",
        '{"statement": "Write double(n).", "public_tests": ["double(2) -> 4"]}',
        "double",
        ["double(2) -> 4"],
    ),
    (
        "JSON tests",
        '{"statement": "Write double(n).", "tests": [{"args": [2], "expected": 4}], "entry_point": "double"}',
        "double",
        ["double(2) -> 4"],
    ),
    (
        "JSON of a graph",
        '{"problem": {"statement": "Write double(n).", "tests": ["double(2) == 4"]}}',
        "double",
        ["double(2) -> 4"],
    ),
    (
        "fenced JSON",
        f'Here it is:\n{FENCE}json\n{{"statement": "Write double(n).", "tests": ["double(2) == 4"]}}\n{FENCE}',
        "double",
        ["double(2) -> 4"],
    ),
    (
        "JSON tests in a fence",
        f'Write double(n).\n{FENCE}json\n[{{"call": "double(2)", "expected": 4}}]\n{FENCE}',
        "double",
        ["double(2) -> 4"],
    ),
    (
        "JSON on stdin",
        '{"statement": "Print the sum.", "tests": [{"stdin": "2 3\\n", "expected": "5"}]}',
        None,
        ["2 3 => 5"],
    ),
    (
        "steps",
        f"A class Counter.\n{FENCE}\n>>> c = Counter()\n>>> c.add('a')\n>>> c.most()\n'a'\n{FENCE}",
        "Counter",
        ["c = Counter()\nc.add('a'); c.most() -> 'a'"],
    ),
]

STATED += [
    ("listed by commas", "f(2) is 4, f(3) is 6 and f(4) is 8", "f", ["f(2) -> 4", "f(3) -> 6", "f(4) -> 8"]),
    ("numbered in a line", "1) f(2) is 4, 2) f(3) is 6", "f", ["f(2) -> 4", "f(3) -> 6"]),
    ("numbered by stops", "1. f(2) is 4 2. f(3) is 6", "f", ["f(2) -> 4", "f(3) -> 6"]),
    ("a reason", "f(2) returns 4, because 2 + 2 is 4", "f", ["f(2) -> 4"]),
    ("explained by numbers", "f(2) should be 4 (2 and 2)", "f", ["f(2) -> 4"]),
    ("a wrong value with a comma", "f(2) returns 1,200 but should return 1200", "f", ["f(2) -> 1200"]),
    ("one unclear, one clear", "f(2) should be 1,5. f(3) should be 6.", "f", ["f(3) -> 6"]),
    ("a message of an assert", "assert f(2) == 4, 'wrong'", "f", ["f(2) -> 4"]),
    ("several right answers", "Write f.\nassert f(2) in [6, 7]", "f", ["assert f(2) in [6, 7]"]),
]

UNCLEAR: list[tuple[str, str]] = [
    ("mean([1, 2]) should be 1,5", "`1.5` for a decimal"),
    ("triple(2) should be 2, 4", "`(2, 4)` for a tuple"),
    ("triple(400) should be 1,200", "`1200` for a thousand"),
    ("triple(400) should be 1 200", "`1200` for a thousand"),
    ("triple(400) should be 1'200", "`1200` for a thousand"),
    ("triple(400) should be 1.200.000", "`1200000` for a thousand"),
    ("triple(2) should be 6 or 7", "`assert triple(2) in [6, 7]`"),
    ("triple(2) should be `6`, or `7`", "`assert triple(2) in [6, 7]`"),
    ("triple(2) should be 6 and 7", "`assert triple(2) in [6, 7]`"),
    ("triple(2) should be 6, 7 or 8", "`6` if that alone is right"),
    ("triple(2) should be 6 or more", "'6 or more'"),
    ("triple(2) should be 6 to 7", "'6 to 7'"),
    ("triple(2) should be 2 million", "'2 million'"),
    ("triple(2) -> 6,0", "`6.0` for a decimal"),
    ("- triple(2) -> 6,0", "`6.0` for a decimal"),
    ("| triple(2) | 6,0 |", "`6.0` for a decimal"),
    ("triple(2) should be 2, 4. triple is a function", "`(2, 4)` for a tuple"),
    ("triple(2) should be 'a' or 'b'", "`assert triple(2) in ['a', 'b']`"),
    ("triple(2) should be [1, 2], [3]", "`([1, 2], [3])` for a tuple"),
    ("triple(2) returns 3 but should return 1,5", "`1.5` for a decimal"),
    ("assert triple(2) == 1,5", "`1.5` for a decimal"),
    (f"{FENCE}python\nassert triple(2) == 1,200\n{FENCE}", "`1200` for a thousand"),
    (f"{FENCE}\ntriple(2) == 6, 0\n{FENCE}", "`(6, 0)` for a tuple"),
    ("For 2 it should return 1,5", "`1.5` for a decimal"),
    ("Input: 2\nOutput: 1,5", "`1.5` for a decimal"),
    (f"Input:\n{FENCE}\n2\n{FENCE}\nOutput:\n{FENCE}\n1,5\n{FENCE}", "`1.5` for a decimal"),
    ("2 -> 6,0", "`6.0` for a decimal"),
]
"""What can be read in two ways of a function `triple`, and what the reply says to write."""

UNTESTED: list[tuple[str, str, str | None]] = [
    ("a name", "Write double(n), which returns twice n.", "double"),
    ("a name in words", "Write a function called double that returns twice its argument.", "double"),
    ("no name", "Write a function that reverses a string", "solve"),
    ("a program", "Write a program that reads n and prints its square", None),
    ("a stub", f"Complete this\n{FENCE}python\ndef double(n):\n    ...\n{FENCE}", "double"),
    ("a class", "Write a class Stack with push and pop", "Stack"),
    ("free names", "Write f(n) where f(n) = 2 * n for every n", "f"),
]
