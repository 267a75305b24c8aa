"""Fractional factorials: their columns, what they keep apart, and what they mix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyDOE3 import fracfact_aliasing, fracfact_by_res

from ablations.designs.fractions import aliases, fraction

SIZES = st.tuples(st.integers(2, 14), st.sampled_from([3, 4, 5]))


def library_aliases(columns: np.ndarray) -> list[list[str]]:
    """Return pyDOE3's alias groups, each a list of words such as "abc"."""
    return [group.split(" = ") for group in fracfact_aliasing(columns)[0]]


def test_the_half_fraction_of_four_factors_is_worked_by_hand() -> None:
    half = fraction(4, 4)
    # d = abc, over the 2³ = 8 runs of a, b, c; from all + to all −, c the fastest
    assert half.columns.tolist() == [
        [+1, +1, +1, +1],
        [+1, +1, -1, -1],
        [+1, -1, +1, -1],
        [+1, -1, -1, +1],
        [-1, +1, +1, -1],
        [-1, +1, -1, +1],
        [-1, -1, +1, +1],
        [-1, -1, -1, -1],
    ]
    # I = abcd, four letters: resolution IV.  ab·abcd = cd, ac·abcd = bd, ad·abcd = bc; a = bcd
    # is of order 3 and not told of
    assert half.generators == ("a", "b", "c", "abc")
    assert half.resolution == 4
    assert aliases(half.columns, "abcd") == ["a:b = c:d", "a:c = b:d", "a:d = b:c"]


def test_a_column_turned_round_turns_the_sign_of_its_aliases() -> None:
    columns = fraction(3, 3).columns  # c = ab
    assert aliases(columns, "abc") == ["a = b:c", "b = a:c", "c = a:b"]
    # with a' = −a, b' = −b, c' = −c:  c' = −ab = −a'b'
    assert aliases(-columns, "abc") == ["a = -b:c", "b = -a:c", "c = -a:b"]


@pytest.mark.parametrize(
    ("factors", "resolution", "runs"),
    [
        *[(3, 3, 4), (5, 3, 8), (6, 3, 8), (7, 3, 8), (9, 3, 16), (11, 3, 16), (15, 3, 16)],
        *[(4, 4, 8), (6, 4, 16), (7, 4, 16), (8, 4, 16), (9, 4, 32), (11, 4, 32), (16, 4, 32)],
        *[(5, 5, 16), (6, 5, 32), (8, 5, 64), (10, 5, 128), (11, 5, 128), (12, 5, 256), (17, 5, 256)],
    ],
)
def test_no_more_runs_are_taken_than_the_tables_have(factors: int, resolution: int, runs: int) -> None:
    # Box, Hunter & Hunter 2005, table 6.22; for more factors the largest caps: 2^(k−1) at resolution IV,
    # and 6, 8, 11, 17 columns in 32, 64, 128, 256 runs at resolution V
    design = fraction(factors, resolution)
    assert len(design.columns) == runs
    assert design.resolution is not None and design.resolution >= resolution


@pytest.mark.parametrize(("factors", "words_of_four"), [(6, 3), (7, 7), (8, 14), (9, 6), (10, 10)])
def test_designs_of_resolution_four_have_minimum_aberration(factors: int, words_of_four: int) -> None:
    # words of four letters in the minimum aberration designs: Fries & Hunter 1980; Wu & Hamada, app. 5A
    columns = fraction(factors, 4).columns.astype(float)
    constant = next(
        group for group in library_aliases(columns) if len(columns) == columns_sum(columns, group[0])
    )
    assert sum(len(word) == 4 for word in constant) == words_of_four


def columns_sum(columns: np.ndarray, word: str) -> int:
    """Return the sum of the product of the columns of a word: the number of runs if it is constant."""
    return int(columns[:, [ord(letter) - ord("a") for letter in word]].prod(axis=1).sum())


@given(SIZES)
def test_every_factor_is_balanced_and_any_two_are_orthogonal(size: tuple[int, int]) -> None:
    columns = fraction(*size).columns.astype(int)
    assert set(columns.ravel().tolist()) == {-1, 1}
    assert (columns.T @ columns == len(columns) * np.eye(size[0], dtype=int)).all()
    assert not columns.sum(axis=0).any()
    assert (columns[0] == 1).all()
    assert len({tuple(run) for run in columns.tolist()}) == len(columns)


@given(st.tuples(st.integers(2, 8), st.sampled_from([3, 4, 5])))
def test_resolution_and_aliases_are_those_that_the_library_finds(size: tuple[int, int]) -> None:
    design = fraction(*size)
    groups = library_aliases(design.columns.astype(float))
    shortest = [len(group[0]) + len(group[1]) for group in groups if len(group) > 1]
    assert design.resolution == min(shortest, default=None)
    assert design.resolution is None or design.resolution >= size[1]
    low = [[word for word in group if len(word) < 3] for group in groups]
    expected = {" = ".join(":".join(word) for word in group) for group in low if len(group) > 1}
    assert set(aliases(design.columns, "abcdefgh"[: size[0]])) == expected


def test_the_library_alone_would_miss_half_fractions_and_break_resolution_five() -> None:
    with pytest.raises(ValueError, match="design not possible"):
        fracfact_by_res(4, 4)
    claimed = fracfact_by_res(8, 5)  # f = abcd, g = abce, so fg = de: I = defg, resolution IV
    assert len(claimed) == 32
    assert "d:e = f:g" in aliases(claimed.astype(np.int8), "abcdefgh")
    assert not aliases(fraction(8, 5).columns, "abcdefgh")
