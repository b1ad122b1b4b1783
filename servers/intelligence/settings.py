"""What the intelligence server can be told."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from servers.runtime.settings import ServerSettings


class IntelligenceSettings(ServerSettings):
    """Settings of the intelligence server; see README.md."""

    port: int = Field(8007, ge=0, le=65535, description="gRPC port; 0 takes any free one")
    triton: str = Field("127.0.0.1:8041", description="Triton's gRPC endpoint, host:port")
    model: str = Field("market_llm", description="the model's name in Triton's repository")
    stable_version: str = Field("1", pattern=r"^\d+$", description="version in force before any roll-out")
    cpu_triton: str | None = Field(
        None, description="a second Triton with the model for processors, host:port; unset: none"
    )
    calibration_file: Path | None = Field(
        None, description="calibrations per version and source (TOML); unset: those that come with the model"
    )
    labelled_file: Path | None = Field(
        None,
        description="labelled texts (CSV: text,label[,source]) that a candidate has to pass; unset: none",
    )
    assignment_salt: str = Field("tapeline", description="part of the hash that assigns entities to versions")

    budget_texts_per_second: float = Field(
        0.0, ge=0, description="texts a second that the models are asked at most; 0 is no bound"
    )
    max_queue_age_seconds: float = Field(
        5.0, gt=0, description="longest a text waits for a model before it is shed, seconds"
    )
    model_timeout_seconds: float = Field(
        10.0, gt=0, description="longest one call of the model takes, seconds"
    )
    candidate_timeout_seconds: float = Field(
        1.5, gt=0, description="the same of a candidate, and never more than 4 times the stable version's p95"
    )
    probe_timeout_seconds: float = Field(
        0.6, gt=0, description="the same of a probe after a candidate failed, seconds"
    )
    batch_wait_seconds: float = Field(
        0.003, ge=0, description="how long a batch that is not full waits for more texts, seconds"
    )
    batches_in_flight: int = Field(2, gt=0, description="batches of one version in flight at once")
    longest_answer_seconds: float = Field(
        30.0, gt=0, description="longest an answer takes when the caller sets no deadline, seconds"
    )
    answer_margin_seconds: float = Field(
        0.03, ge=0, description="what is kept of a caller's time for its answer: a tenth, and at least this"
    )
    kept_answers: int = Field(50_000, ge=0, description="most answers that are kept")
    kept_seconds: float = Field(1_800.0, gt=0, description="how long an answer is kept, seconds")
