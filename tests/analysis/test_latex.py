import numpy as np
import pandas as pd

from analysis.page.latex import escape, latex_table


def test_a_table_is_a_tabular_with_rules_of_booktabs() -> None:
    table = pd.DataFrame({"arm": ["ppo_max", "a&b"], "final_gold": [1.2345, np.nan], "n": [5, 3]})
    assert latex_table(table) == (
        "\\begin{tabular}{lrr}\n"
        "\\toprule\n"
        "arm & final gold & n \\\\\n"
        "\\midrule\n"
        "ppo\\_max & 1.23 & 5 \\\\\n"
        "a\\&b & -- & 3 \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
    )


def test_every_special_character_is_escaped_once() -> None:
    assert escape("100 % of $x_1$ {#} \\ ~ ^ & −3 < √2") == (
        r"100 \% of \$x\_1\$ \{\#\} \textbackslash{} \textasciitilde{} \textasciicircum{} \& "
        r"$-$3 \textless{} $\surd$2"
    )


def test_whole_numbers_have_no_decimals_and_others_three_digits() -> None:
    text = latex_table(pd.DataFrame({"x": [30.0, 0.00012345, -2.5, 1e9]}))
    assert [line for line in text.splitlines() if line.endswith("\\\\")][1:] == [
        "30 \\\\",
        "0.000123 \\\\",
        "$-$2.50 \\\\",
        "1.00e+09 \\\\",
    ]
