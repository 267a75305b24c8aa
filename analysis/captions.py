"""Captions of the report's figures, written for a reader who has not seen the code."""

_BAND = (
    "Lines are interquartile means over seeds, bands their 95 % bootstrap intervals; with fewer "
    "than three seeds, thin lines are the seeds themselves. A line fades from where some of its "
    "runs have ended. Triangles at the foot mark the iterations at which runs collapsed."
)

CAPTIONS = {
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
    "warning_times": (
        "How many iterations before a fall each monitor warned (gold below its start or, without a "
        "gold judge, the collapse that the monitors themselves say); a dot is a run, "
        "the bar the median, the number at the right says in how many falls it warned at all "
        "before. Right of zero is early, left is too late."
    ),
    "differences": (
        "Each arm minus the baseline at the end of training, over shared seeds: mean difference "
        "and 95 % interval. An interval that crosses the line shows no difference."
    ),
    "reward_against_kl": (
        "Gold and reward-model score on held-out prompts against how far the policy has moved from "
        "SFT, in the order of training; the large mark is the end. Means over seeds. A gold curve "
        "that bends down while the other climbs is over-optimisation."
    ),
    "reward_distribution": (
        "How the reward model's scores spread over the responses of an iteration: median, middle "
        "half and middle nine tenths, as interquartile means over seeds."
    ),
    "held_out_perplexity": (
        "The alignment tax: perplexity on language that no stage trains on, lower is better. Left "
        f"over training, right its change by the end with the 95 % interval over seeds. {_BAND}"
    ),
    "reward_model": (
        "The reward model on pairs held out of its training: how far it sets the preferred response "
        "above the other (grey: it prefers the wrong one), and how its training went."
    ),
    "other_monitors": f"What else was recorded of the responses. {_BAND}",
    "update_monitors": f"What was recorded of the PPO update. {_BAND}",
    "cost_monitors": f"What an iteration cost, and numbers that were not finite. {_BAND}",
}

_TITLES = {
    "monitors": "The monitors, iteration by iteration",
    "proxy_and_gold": "Proxy and gold together",
    "collapse_times": "When runs collapsed",
    "warning_times": "Which monitor moved first",
    "differences": "Differences from the baseline",
    "reward_against_kl": "Reward against KL",
    "reward_distribution": "The distribution of the reward",
    "held_out_perplexity": "Held-out perplexity",
    "reward_model": "The reward model",
    "other_monitors": "All other monitors of the responses",
    "update_monitors": "The PPO update",
    "cost_monitors": "Time and numerical trouble",
}


def figure_title(name: str) -> str:
    """Return the title of a figure."""
    return _TITLES[name]
