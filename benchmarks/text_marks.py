"""TF-IDF and logistic regression on the very texts of a study: the mark that networks have to pass.

    EDGEWISE_DATA=/data python benchmarks/text_marks.py examples/text_rt_polarity.json [MORE ...]

Words and pairs of words, sublinear counts; C is chosen on the study's validation split, the test
split is asked once. Prints one row a study.
"""

import os
import sys

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from edgewise.core import read_json
from edgewise.data import load_texts

STRENGTHS = (1.0, 3.0, 10.0, 30.0)


def mark(config: dict[str, object]) -> tuple[int, float, float, float]:
    """Training texts, the chosen C, validation and test accuracy."""
    texts = load_texts(
        config["dataset"], os.environ.get("EDGEWISE_DATA"), 0, config.get("limit") or None
    )
    features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+")
    x = features.fit_transform(texts.train.texts)
    inside, outside = (features.transform(p.texts) for p in (texts.validation, texts.test))
    fits = [LogisticRegression(C=c, max_iter=1000).fit(x, texts.train.labels) for c in STRENGTHS]
    scores = [fit.score(inside, texts.validation.labels) for fit in fits]
    best = scores.index(max(scores))
    return x.shape[0], STRENGTHS[best], scores[best], fits[best].score(outside, texts.test.labels)


print("| data set | training texts | C | validation % | test % |")
print("|---|---|---|---|---|")
for path in sys.argv[1:]:
    config = read_json(path)
    size, strength, inside, outside = mark(config)
    print(
        f"| {config['dataset']} | {size:,} | {strength:g} | {100 * inside:.1f} "
        f"| {100 * outside:.1f} |",
        flush=True,
    )
