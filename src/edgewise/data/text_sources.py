"""Where texts come from: terms and files."""

from edgewise.data.catalogue import RemoteFile, Source

TEXT_SOURCES = {
    "imdb": Source(
        title="IMDB reviews, negative and positive, 25 000 + 25 000",
        homepage="https://ai.stanford.edu/~amaas/data/sentiment/",
        licence="none stated by the authors; for research use",
        citation="A. L. Maas, R. E. Daly, P. T. Pham, D. Huang, A. Y. Ng, C. Potts (2011). "
        "Learning word vectors for sentiment analysis. ACL.",
        files=(
            RemoteFile(
                "imdb/imdb_train.tsv.gz",
                12885546,
                "e5141e05321f5d563081f5bebb8667450c1dc8a391ba75799e961e91cbabbcce",
            ),
            RemoteFile(
                "imdb/imdb_test.tsv.gz",
                12580429,
                "cefc392d3c01462eee180d22609c7a0a431bd629785b5b52afa9c0c6035e509a",
            ),
        ),
        obtain="write aclImdb's reviews as lines of label, rating, id and text, with tabs between",
    ),
    "rt-polarity": Source(
        title="Sentences from film reviews, negative and positive, 5 331 + 5 331",
        homepage="https://www.cs.cornell.edu/people/pabo/movie-review-data/",
        licence="none stated by the authors; for research use",
        citation="B. Pang, L. Lee (2005). Seeing stars: exploiting class relationships for "
        "sentiment categorization with respect to rating scales. ACL.",
        files=(
            RemoteFile(
                "sentiment/rt-polarity.neg",
                612506,
                "2d11cfbc790f1cd96d78339f41ce53ced1efa83cd22d37d6788fa3fe3d17e2fd",
            ),
            RemoteFile(
                "sentiment/rt-polarity.pos",
                626395,
                "4134882974a28d0c7b5151256f0e33a6169984ee7372c279e673f1114f475d58",
            ),
        ),
        obtain="convert the files of sentence polarity dataset v1.0 to UTF-8",
    ),
}
"""Terms and files, as in `SOURCES`; a file's name begins with its folder."""
