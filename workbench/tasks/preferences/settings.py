"""Settings of the preferences task: which data, which tokenizer, which lengths, what is held out."""

from typing import Literal, Self

from pydantic import Field, model_validator

from workbench.settings import ModelSettings, PrepareSettings, Settings


class JudgeSettings(PrepareSettings):
    """A judge that is learnt: a larger reward model, on held-out pairs that nothing else sees."""

    share: float = Field(
        0.75, gt=0, lt=1, description="share of the held-out pairs that it is trained on"
    )
    policy: ModelSettings = ModelSettings(width=128)


class RoleMarkers(Settings):
    """What opens a turn in plain text; the defaults are HH-RLHF's."""

    human: str = Field("\n\nHuman:", min_length=1, description="opens a turn of the user")
    assistant: str = Field("\n\nAssistant:", min_length=1, description="opens a turn of the model")


class PreferencesSettings(Settings):
    """Everything that determines the preferences task, besides the content of the data."""

    data: str = Field(min_length=1, description="file, folder of files, or name of a hub data set")
    subset: str | None = Field(None, description="configuration of a hub data set")
    split: str | None = Field(None, description="split of a hub data set; train if absent")
    tokenizer: str | None = Field(
        None,
        description="Hugging Face folder or hub name; a BPE of its own, trained here, if absent",
    )
    end_token: str | None = Field(
        None,
        exclude_if=lambda token: token is None,  # studies from before it existed go on
        description="ends a response, as a chat model ends its turn; the tokenizer's own if absent",
    )
    vocabulary_size: int = Field(2048, ge=258, description="tokens of the own BPE; 256 are bytes")
    max_prompt_tokens: int = Field(64, gt=0, description="a longer prompt loses its beginning")
    max_response_tokens: int = Field(64, gt=1, description="cap on a response, its end token included")
    long_responses: Literal["truncate", "drop"] = Field(
        "truncate",
        description="cut a longer response, which then has no end token, or drop its pair",
    )
    held_out_share: float = Field(0.1, gt=0, lt=1, description="share of the pairs never trained on")
    held_out_texts: int = Field(512, gt=0, description="most texts to measure perplexity on")
    preference_pairs: int | None = Field(
        None, gt=0, description="most training pairs for the reward model; all of them if absent"
    )
    judge: JudgeSettings | None = Field(
        None, description="learns a gold judge from held-out pairs; no gold if absent"
    )
    eval_prompts: int = Field(256, gt=0, description="most held-out prompts to sample from")
    limit: int | None = Field(None, gt=1, description="most pairs to use, drawn by the seed")
    roles: RoleMarkers = RoleMarkers()
    seed: int = Field(0, description="draws what is held out, and the order")

    @model_validator(mode="after")
    def _has_end_token(self) -> Self:
        if self.end_token and not self.tokenizer:
            raise ValueError(f"end_token {self.end_token} is a given tokenizer's; set tokenizer as well")
        return self
