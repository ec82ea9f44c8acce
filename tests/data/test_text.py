import gzip
import os
import sys
import types
from pathlib import Path

import pytest
import torch

import edgewise as ew
from edgewise.core import InputError, MissingExtraError
from edgewise.data import SOURCES, Batches, text
from edgewise.data.text import TEXTS, TextDataset, Texts, load_texts
from edgewise.data.tokeniser import Tokeniser
from edgewise.data.tokens import Tokens, tokenise
from edgewise.models.text import TextClassifier


def write_imdb(folder, train, test):
    (folder / "imdb").mkdir(exist_ok=True)
    for part, rows in (("train", train), ("test", test)):
        lines = "".join(f"{label}\t5\t{i}\t{words}\n" for i, (label, words) in enumerate(rows))
        (folder / f"imdb/imdb_{part}.tsv.gz").write_bytes(gzip.compress(lines.encode()))


def write_polarity(folder, negative, positive):
    (folder / "sentiment").mkdir()
    for end, lines in (("neg", negative), ("pos", positive)):
        path = folder / f"sentiment/rt-polarity.{end}"
        path.write_bytes("".join(f"{line}\n" for line in lines).encode())


def small(words=("good film", "bad film", "fine", "poor")):
    texts = Texts(tuple(words), torch.tensor([1, 0, 1, 0]), ("negative", "positive"))
    return TextDataset(texts, texts, texts, "small", {})


@pytest.fixture
def tokenizers():
    return pytest.importorskip("tokenizers")


def test_imdb_holds_out_training_reviews_and_repeats_none(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "_HELD_OUT", 4)
    train = [(k % 2, f"review {k}\u0085 of a film") for k in range(20)]
    test = [(0, "review 3\u0085 of a film"), (1, "another"), (1, "another")]
    write_imdb(tmp_path, [*train, train[5], (0, train[6][1])], test)
    data = load_texts("imdb", tmp_path)
    parts = {part: getattr(data, part).texts for part in ("train", "validation", "test")}
    assert [len(texts) for texts in parts.values()] == [15, 4, 3]
    ours = [*parts["train"], *parts["validation"]]
    # Everything once, but what is among the test reviews.
    assert sorted(ours) == sorted({words for _, words in train} - {test[0][1]})
    assert parts["test"] == tuple(words for _, words in test)
    assert data.card["left_out"] == 3
    assert data.card["sizes"] == {"train": 15, "validation": 4, "test": 3}
    assert data.validation.labels.bincount().tolist() == [2, 2]
    labels = {words: label for label, words in train}
    assert [labels[words] for words in parts["train"]] == data.train.labels.tolist()
    again, other = (load_texts("imdb", tmp_path, seed) for seed in (0, 1))
    assert again.train.texts == parts["train"] != other.train.texts


def test_rt_polarity_is_split_by_class(tmp_path):
    write_polarity(tmp_path, [f"dull {k} ." for k in range(30)], [f"fine {k} ." for k in range(20)])
    data = load_texts("rt-polarity", tmp_path)
    counts = [getattr(data, p).labels.bincount().tolist() for p in ("train", "validation", "test")]
    assert counts == [[24, 16], [3, 2], [3, 2]]
    every = [words for p in ("train", "validation", "test") for words in getattr(data, p).texts]
    assert len(set(every)) == 50
    for words, label in zip(data.train.texts, data.train.labels, strict=True):
        assert words.startswith(("dull", "fine")[label])


def test_a_limit_keeps_the_classes_in_proportion(tmp_path):
    write_polarity(tmp_path, [f"dull {k}" for k in range(50)], [f"fine {k}" for k in range(50)])
    data = load_texts("rt-polarity", tmp_path, limit=20)
    assert data.train.labels.bincount().tolist() == [10, 10]
    assert len(data.test) == 10
    assert data.card["limit"] == 20
    with pytest.raises(InputError) as caught:
        load_texts("rt-polarity", tmp_path, limit=81)
    assert str(caught.value) == (
        "limit must lie between 1 and 80, the training texts of 'rt-polarity', got 81"
    )


def test_a_data_set_of_the_users_own(monkeypatch):
    module = types.ModuleType("my_texts")
    module.small = lambda data_dir, split_seed: small()
    module.none = lambda data_dir, split_seed: 3
    monkeypatch.setitem(sys.modules, "my_texts", module)
    assert load_texts("my_texts:small").name == "small"
    with pytest.raises(InputError) as caught:
        load_texts("my_texts:none")
    assert (
        str(caught.value) == "the text data set 'my_texts:none' must return a TextDataset, not int"
    )


def test_sources_say_what_a_reader_must_know():
    for source in (SOURCES[name] for name in TEXTS):
        assert all(source.card.values())
        assert source.obtain
        for file in source.files:
            assert len(bytes.fromhex(file.sha256)) == 32


REAL = Path(os.environ.get("EDGEWISE_DATA") or "/nowhere")


@pytest.mark.skipif(not (REAL / "sentiment").is_dir(), reason="the real files are not here")
def test_the_real_rt_polarity():
    data = load_texts("rt-polarity")
    assert data.card["sizes"] == {"train": 8530, "validation": 1066, "test": 1066}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: (f / "imdb/imdb_test.tsv.gz").unlink(),
            "the data set 'imdb' needs the file {folder}/imdb/imdb_test.tsv.gz, which is not "
            "there: write aclImdb's reviews as lines of label, rating, id and text, with tabs "
            "between, or set --data-dir or EDGEWISE_DATA to the folder that has imdb/",
        ),
        (
            lambda f: (f / "imdb/imdb_test.tsv.gz").write_bytes(gzip.compress(b"0\t1\t2\tx\n9\n")),
            "{folder}/imdb/imdb_test.tsv.gz, line 2: must be 0 or 1, a rating, an id and a text, "
            "with tabs between, got '9'",
        ),
        (
            lambda f: None,
            "the training file of 'imdb' has 2 reviews, of which 2500 are held out for "
            "validation: it must have more",
        ),
    ],
)
def test_files_that_are_not_what_they_should_be(change, message, tmp_path):
    write_imdb(tmp_path, [(0, "a"), (1, "b")], [(0, "c")])
    change(tmp_path)
    with pytest.raises(InputError) as caught:
        load_texts("imdb", tmp_path)
    assert str(caught.value) == message.format(folder=tmp_path)


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(b"0\t1\t2\txyz", mtime=0)[:-9]], ids=["foreign", "cut"]
)
def test_damaged_files(content, tmp_path):
    write_imdb(tmp_path, [(0, "a"), (1, "b")], [(0, "c")])
    path = tmp_path / "imdb/imdb_train.tsv.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"imdb_train\.tsv\.gz is damaged: "):
        load_texts("imdb", tmp_path)


def test_what_makes_no_texts():
    for make, message in (
        (
            lambda: Texts(("a",), torch.tensor([0, 1]), ("x", "y")),
            "labels must be int64 of shape (1,), got torch.int64 of shape (2,)",
        ),
        (
            lambda: Texts(("a",), torch.tensor([2]), ("x", "y")),
            "labels must lie between 0 and 1, got 2 to 2",
        ),
        (
            lambda: TextDataset(
                *[Texts((), torch.zeros(0).long(), ("x",))] * 3, name="none", card={}
            ),
            "the data set 'none': train has no texts",
        ),
        (
            lambda: load_texts("imbd"),
            "unknown text data set 'imbd': did you mean 'imdb'? (known: imdb, rt-polarity)",
        ),
        (lambda: load_texts("imdb", split_seed=-1), "split_seed must be at least 0, not -1"),
    ):
        with pytest.raises(InputError) as caught:
            make()
        assert str(caught.value) == message


def test_without_the_library_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    for call in (lambda: Tokeniser.train(["a"]), lambda: Tokeniser.load(tmp_path / "x.json")):
        with pytest.raises(MissingExtraError) as caught:
            call()
        assert str(caught.value) == (
            "this needs the package 'tokenizers': pip install 'edgewise[text]'"
        )


def test_batches_take_tokens_and_are_a_function_of_seed_and_epoch():
    rows = [[k] * (k % 7 + 1) for k in range(1, 64)]
    tokens = Tokens.of(rows, torch.arange(63) % 2, ("a", "b"))
    batches = Batches(tokens, 8, seed=3, pool=2)
    seen = []
    for batch, again in zip(batches.epoch(5), batches.epoch(5), strict=True):
        found, lengths = batch.inputs
        assert torch.equal(found, again.inputs[0])
        for row, n, item in zip(
            found.tolist(), lengths.tolist(), batch.items.tolist(), strict=True
        ):
            assert row[:n] == rows[item]
            assert not any(row[n:])
        assert torch.equal(batch.target, tokens.labels[batch.items])
        assert found.shape[1] == int(lengths.max())
        seen += batch.items.tolist()
    assert sorted(seen) == list(range(63))


def test_texts_without_tokens_are_named():
    with pytest.raises(InputError) as caught:
        Tokens.of([[1], []], torch.zeros(2).long(), ("a",))
    assert str(caught.value) == "text 1 has no token: leave it out"
    with pytest.raises(InputError) as caught:
        Tokens.of([[1]], torch.zeros(2).long(), ("a",))
    assert str(caught.value) == "there are 1 texts, but labels (2,)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (["a"], 300, "bpf"),
            "unknown kind of tokeniser 'bpf': did you mean 'bpe'? (known: bpe, word)",
        ),
        ((["a"], 256), "size must be a whole number of at least 257 for 'bpe', got 256"),
        ((["a"], 2, "word"), "size must be a whole number of at least 3 for 'word', got 2"),
        (("text",), "texts must be a list of at least one text, got 'text'"),
        (([],), "texts must be a list of at least one text, got []"),
    ],
)
def test_what_makes_no_tokeniser(arguments, message):
    with pytest.raises(InputError) as caught:
        Tokeniser.train(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(("kind", "size"), [("bpe", 270), ("word", 9)])
def test_a_tokeniser_is_trained_saved_and_loaded(tokenizers, kind, size, tmp_path):
    texts = ["A good film, a good day", "the film is bad", "café NAÏVE"] * 3
    tokeniser = Tokeniser.train(texts, size, kind)
    assert len(tokeniser) <= size
    rows = tokeniser.encode(texts)
    assert all(0 < token < len(tokeniser) for row in rows for token in row)
    assert Tokeniser.train(texts, size, kind).encode(texts) == rows
    again = Tokeniser.load(tokeniser.save(tmp_path / "deep/tokens.json"))
    assert again.encode(texts) == rows
    if kind == "bpe":
        assert tokeniser.decode(rows[0]).strip() == "a good film, a good day"
        # Bytes: nothing is unknown, not even another script.
        assert tokeniser.decode(tokeniser.encode(["日本"])[0]).strip() == "日本"
    else:
        assert tokeniser.encode(["unheard"]) == [[1]]
    assert tokeniser.encode(["", " \n\t", "\u0085"]) == [[], [], []]


def test_the_vocabulary_is_the_training_splits_only(tokenizers):
    train = Texts(("aaa bbb", "bbb ccc"), torch.tensor([0, 1]), ("x", "y"))
    other = Texts(("ddd bbb", "eee"), torch.tensor([0, 1]), ("x", "y"))
    tokeniser, parts = tokenise(TextDataset(train, other, other, "toy", {}), 50, "word", most=1)
    assert len(tokeniser) == 5
    assert [parts["train"].flat.tolist(), parts["test"].flat.tolist()] == [[3, 2], [1, 1]]
    assert parts["validation"].lengths.tolist() == [1, 1]


def test_a_text_of_blanks_is_named(tokenizers):
    tokeniser = Tokeniser.train(["good film"], 300)
    with pytest.raises(InputError) as caught:
        Tokens.encoded(small(("good", "bad", " \n ", "x")).train, tokeniser)
    assert str(caught.value) == "text 2 (' \\n ') has no token: leave it out"
    with pytest.raises(InputError) as caught:
        Tokens.encoded(small().train, tokeniser, most=0)
    assert str(caught.value) == "most must be a whole number of at least 1, got 0"


def test_files_that_are_no_tokenisers(tokenizers, tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(InputError) as caught:
        Tokeniser.load(path)
    assert str(caught.value) == f"there is no file {path}"
    path.write_text("{}")
    with pytest.raises(InputError, match=r"x\.json is no tokeniser's file: "):
        Tokeniser.load(path)
    tokenizers.Tokenizer(tokenizers.models.BPE()).save(str(path))
    with pytest.raises(InputError) as caught:
        Tokeniser.load(path)
    assert str(caught.value) == f"{path} is a tokeniser in which token 0 is not '<pad>'"


def test_a_classifier_learns_texts_through_fit(tokenizers):
    words = [f"{'fine' if k % 2 else 'dull'} film number {k % 5}" for k in range(60)]
    texts = Texts(tuple(words), torch.arange(60) % 2, ("negative", "positive"))
    tokeniser, parts = tokenise(TextDataset(texts, texts, texts, "toy", {}), 100, "word")
    with ew.core.seeded(0):
        model = TextClassifier(len(tokeniser), backbone="kan-gru", hidden_dim=8)
    batches = Batches(parts["train"], 20)
    settings = ew.train.Settings(epochs=15, learning_rate=0.05)
    done = ew.train.fit(model, batches, Batches(parts["test"], 64, shuffle=False), settings, seed=0)
    assert done.best["validation_accuracy"] == 1.0
