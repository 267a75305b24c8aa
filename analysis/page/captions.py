"""Captions of the report's figures, written for a reader who has not seen the code."""

_BAND = (
    "Lines are interquartile means over seeds, bands their 95 % bootstrap intervals; with fewer "
    "than three seeds, thin lines are the seeds themselves. A line fades from where some of its "
    "runs have ended. Triangles at the foot mark the iterations at which runs collapsed."
)

_FOREST = (
    "Bars are 95 % intervals over seeds; a hollow mark's interval holds zero. Grey is the range of "
    "effects that four such studies in five would not find."
)

CAPTIONS = {
    "all_arms": (
        "Where every arm ended, the best first: each run a pale mark, a cross where it collapsed, and "
        "their mean with its 95 % interval over seeds; at the right how many runs hold. Coloured are "
        "the arms that the other figures show. Of more than 40 arms the 20 best and the 20 worst."
    ),
    "monitors": (
        "The four monitors of “Secrets of RLHF” (score, length, KL, perplexity), with what they "
        "are to warn of: the gold score and the win rate against the SFT policy. Dotted: the SFT "
        f"policy. {_BAND} An axis turns logarithmic where its largest value exceeds 30 times its "
        "median one."
    ),
    "proxy_and_gold": (
        "The reward model's score (solid) and the gold judge's (dashed) on held-out prompts, as "
        "changes from the SFT policy in units of its standard deviations over responses. Where "
        "the two part, the policy exploits the reward model. Bands are 95 % intervals over seeds."
    ),
    "collapse_times": (
        "Left: each run as a line, thick until it collapsed or ended. Right: the share of each "
        "arm's runs that had not collapsed (Kaplan–Meier, with 95 % intervals; runs that did not "
        "collapse count as watched until their last iteration)."
    ),
    "warning_ranking": (
        "How well each monitor's value so far tells a collapse within the next iterations: the chance "
        "that it is higher (or lower, as it was learnt from other runs) before a collapse than where "
        "none follows, with 95 % intervals over runs. The iteration alone is what a monitor has to "
        "beat. The paper's four monitors and the two losses are always shown, the others as they lead."
    ),
    "warning_times": (
        "How many iterations before a run collapsed each monitor's alarm went off; a dot is a run, the "
        "bar the median. At the right: before how many of the collapses it went off, and in how many of "
        "the runs that held it did so in vain. Thresholds are learnt from the other runs."
    ),
    "differences": (
        "Each arm minus the baseline at the end of training, over shared seeds: mean difference "
        "and 95 % interval. An interval that crosses the line shows no difference."
    ),
    "wins": (
        "The share of held-out prompts on which the judge scores the policy's response above that of "
        "the SFT policy, the same, and below it, over the last tenth of the evaluations; means over "
        "seeds. The dark tick is the win rate with its 95 % interval over seeds, a tie counting half."
    ),
    "reward_against_kl": (
        "Gold and reward-model score on held-out prompts against how far the policy has moved from "
        "SFT; marks are means over seeds at the evaluations, the large one is the end. Lines are fits "
        "of R(d) = d (α − β log d), d = √KL (Gao et al. 2022), drawn as far as the runs went, and a "
        "ring is the peak of a fit that they reached. A gold curve that bends down while the other "
        "climbs is over-optimisation."
    ),
    "frontier": (
        "Where each arm ended: gold against KL, means over seeds with 95 % intervals. The dotted line "
        "joins the arms that no other beats in both; grey points are arms that the figures do not show."
    ),
    "sweeps": (
        "Arms that differ in one number alone, over its values: means over seeds with 95 % intervals, "
        "each run a pale mark; at the right the share of runs that hold, with its exact 95 % interval. "
        "Dashed: the arm that is the same without the trick (pale: its interval)."
    ),
    "forest": (
        "What each trick does by the end of training, with minus without, when it alone is added to the "
        f"recipe or left out of it. {_FOREST}"
    ),
    "main_effects": (
        "What each factor does on average over the settings of the others, on minus off. " + _FOREST
    ),
    "shapley_values": (
        "Each trick's share of what all tricks together change: its effect, averaged over the orders in "
        f"which the tricks can be added. {_FOREST}"
    ),
    "interactions": (
        "What two tricks give together beyond the sum of what each gives: blue more, orange less. Bold "
        "where the 95 % interval excludes zero; ≡ where the design cannot tell the pair from others."
    ),
    "parallel_coordinates": (
        "Each arm as a line through the means of its runs at the end of training, each run as a thin "
        "grey one. Every row runs from the least to the greatest of all runs, which stand at its ends. "
        "Numeric settings in which arms differ come first."
    ),
    "reward_distribution": (
        "The reward model's scores over the responses of one iteration, later iterations further up. "
        "Each curve is smoothed from five recorded quantiles (interquartile means over seeds); the "
        "tick is the median, the bar the middle half."
    ),
    "held_out_perplexity": (
        "The alignment tax: perplexity on language that no stage trains on, lower is better. Left "
        "over training, right its change by the end with the 95 % interval over seeds."
    ),
    "reward_model": (
        "The reward model on pairs held out of its training: how far it sets the preferred response "
        "above the other (grey: it prefers the wrong one), and the share of pairs that it ranks right "
        "as its training goes on, with the 95 % interval of a share (or its loss, if no more is known)."
    ),
    "other_monitors": "What else was recorded of the responses, drawn as the monitors above.",
    "update_monitors": "What was recorded of the PPO update, drawn as the monitors above.",
    "cost_monitors": (
        "What an iteration cost, and numbers that were not finite, drawn as the monitors above."
    ),
}

TITLES = {
    "all_arms": "Every arm, from the best to the worst",
    "monitors": "The monitors, iteration by iteration",
    "proxy_and_gold": "Proxy and gold together",
    "collapse_times": "When runs collapsed",
    "warning_ranking": "Which monitor tells a collapse ahead",
    "warning_times": "How long before it does",
    "differences": "Differences from the baseline",
    "wins": "Wins, ties and losses",
    "reward_against_kl": "Reward against KL",
    "frontier": "Gold for its KL, arm by arm",
    "sweeps": "How the outcome goes with a number",
    "forest": "What each trick does",
    "main_effects": "What each factor does on average",
    "interactions": "Which tricks act on each other",
    "shapley_values": "How the whole is shared out",
    "parallel_coordinates": "Everything at the end, arm by arm",
    "reward_distribution": "The distribution of the reward",
    "held_out_perplexity": "Held-out perplexity",
    "reward_model": "The reward model",
    "other_monitors": "All other monitors of the responses",
    "update_monitors": "The PPO update",
    "cost_monitors": "Time and numerical trouble",
}
"""The title of each figure."""
