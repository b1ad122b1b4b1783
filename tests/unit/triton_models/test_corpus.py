"""Labelled files are read by their header, and a text's fold depends on what it says alone."""

from pathlib import Path

import pytest

from triton_models.train_head.corpus import (
    BEARISH,
    BULLISH,
    NEUTRAL,
    fold_of,
    key_of,
    normalised,
    read_corpus,
    read_examples,
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labelled.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_numbered_labels_is_read_in_its_own_order_of_labels(tmp_path: Path) -> None:
    path = written(tmp_path, "text,label\nAcme falls,0\nAcme rises,1\nAcme meets,2\n")
    assert [example.label for example in read_examples(path)] == [BEARISH, BULLISH, NEUTRAL]


def test_a_headline_counts_when_its_entities_agree(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "S No.,Title,Decisions,Words\n"
        "1,Both rise,\"{'A': 'positive', 'B': 'positive'}\",2\n"
        "2,One rises,\"{'A': 'positive', 'B': 'negative'}\",2\n"
        "3,An apostrophe,\"{'Osian's Art Fund': 'neutral'}\",2\n",
    )
    found = {example.text: example.label for example in read_examples(path)}
    assert found == {"Both rise": BULLISH, "An apostrophe": NEUTRAL}


def test_copies_count_once_and_contradictions_not_at_all(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "text,label\nAcme falls https://t.co/a,0\nACME falls!,0\nBorealis moves,0\nBorealis  moves,1\n",
    )
    assert [example.text for example in read_examples(path)] == ["Acme falls https://t.co/a"]


def test_the_fold_is_that_of_the_normalised_text() -> None:
    assert normalised("$ACME  Falls: https://t.co/x") == "$acme falls"
    assert fold_of("$ACME falls https://t.co/x") == fold_of("$acme FALLS!")
    # Written down once: another hash would move held-out texts into what is fitted.
    assert [fold_of(text) for text in ("Acme falls", "Acme rises", "Borealis meets")] == FOLDS


FOLDS = [51, 32, 62]


def test_a_corpus_keeps_its_sources_apart_and_says_where_they_are_from(tmp_path: Path) -> None:
    texts = [f"Acme moves {number}" for number in range(40)]
    path = written(tmp_path, "text,label\n" + "".join(f"{text},1\n" for text in texts))
    other = tmp_path / "other.csv"
    other.write_text("original,senti_label\nBorealis falls,bearish\n", encoding="utf-8")
    corpus = read_corpus([f"tweets={path}", f"posts={other}"])
    assert corpus.names == ("tweets", "posts")
    assert [told["texts"] for told in corpus.provenance()] == [40, 1]
    held_out, kept = corpus.rows(held_out=True, source=0), corpus.rows(held_out=False, source=0)
    assert sorted([*held_out, *kept]) == list(range(40))
    assert {corpus.examples[row].text for row in held_out} == {
        text for text in texts if key_of(text) % 100 < 15
    }


@pytest.mark.parametrize("pair", ["tweets", "=tweets.csv", "tweets="])
def test_a_source_without_name_or_file_is_said(pair: str) -> None:
    with pytest.raises(ValueError, match=f"{pair}: say NAME=FILE"):
        read_corpus([pair])


def test_an_unknown_label_names_its_row(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row 3"):
        read_examples(written(tmp_path, "text,label\nAcme falls,0\nAcme rises,7\n"))


def test_an_unknown_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no known form"):
        read_examples(written(tmp_path, "words,mood\nAcme falls,0\n"))
