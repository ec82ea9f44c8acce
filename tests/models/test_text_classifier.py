import pytest
import torch
from torch import nn

import edgewise as ew
from edgewise.core import InputError
from edgewise.models.backbones import BACKBONES
from edgewise.models.text import TextClassifier

every_backbone = pytest.mark.parametrize("backbone", list(BACKBONES))


def make(backbone="kan-gru", **options):
    return TextClassifier(20, 2, backbone, 8, 8, **options)


def texts(B=64, L=5, seed=0):
    """Texts of 3 to 18 in which 1 or 2 stands once; whichever it is, is the class."""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, 19, (B, L), generator=draw)
    y = torch.randint(0, 2, (B,), generator=draw)
    lengths = torch.randint(2, L + 1, (B,), generator=draw)
    tokens[torch.arange(B), lengths - 2] = y + 1
    return tokens, lengths, y


@every_backbone
def test_what_stands_at_padding_changes_nothing(backbone):
    model = make(backbone).double().eval()
    tokens, lengths, _ = texts()
    other = torch.where(torch.arange(5) < lengths[:, None], tokens, 19)
    assert torch.equal(model(tokens, lengths), model(other, lengths))
    further = nn.functional.pad(tokens, (0, 3))
    torch.testing.assert_close(model(further, lengths), model(tokens, lengths), rtol=0, atol=1e-12)


@every_backbone
def test_it_is_saved_and_loaded(backbone, tmp_path):
    model = make(backbone).eval()
    tokens, lengths, _ = texts(4)
    again = ew.load(ew.save(model, tmp_path / "m.safetensors")).eval()
    assert torch.equal(again(tokens, lengths), model(tokens, lengths))


@pytest.mark.parametrize("backbone", ["bag", "grkan-transformer"])
def test_it_is_compiled_and_exported(backbone):
    model = make(backbone).eval()
    tokens, lengths, _ = texts(4, 2)
    expected = model(tokens, lengths)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(tokens, lengths), expected)
    batch = torch.export.Dim("batch", min=2)
    shapes = ({0: batch}, {0: batch})
    program = torch.export.export(model, (tokens, lengths), dynamic_shapes=shapes)
    torch.testing.assert_close(program.module()(tokens[:3], lengths[:3]), expected[:3])


@every_backbone
def test_it_learns_which_word_was_there(backbone):
    tokens, lengths, y = texts(256)
    torch.manual_seed(0)
    model = make(backbone, dropout=0.0)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(30):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(tokens, lengths), y).backward()
        optimiser.step()
    tokens, lengths, y = texts(seed=1)
    assert (model.eval()(tokens, lengths).argmax(-1) == y).float().mean() > 0.85


def test_padding_is_embedded_as_zeros_and_stays_so():
    model = make()
    tokens, lengths, _ = texts()
    model(tokens, lengths).sum().backward()
    assert (model.embedding.weight[0] == 0).all()
    assert (model.embedding.weight.grad[0] == 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TextClassifier(0), "vocabulary must be a whole number of at least 1, got 0"),
        (lambda: TextClassifier(9, dim=0), "dim must be a whole number of at least 1, got 0"),
        (
            lambda: make()(torch.zeros(2, 3), torch.ones(2).long()),
            "tokens must be whole numbers of shape (texts, length), got torch.float32 of shape "
            "(2, 3)",
        ),
        (
            lambda: make()(torch.full((2, 3), 20), torch.ones(2).long()),
            "tokens must lie between 0 and 19, got 20 to 20: the model was made for a vocabulary "
            "of 20",
        ),
        (
            lambda: make()(torch.ones(2, 3).long(), torch.tensor([2, 0])),
            "sequence 1 of the batch has no token, only padding: leave it out",
        ),
        (
            lambda: make()(torch.ones(2, 3).long(), torch.tensor([2, 4])),
            "lengths must lie between 1 and 3, the padded length, got 2 to 4",
        ),
    ],
)
def test_what_makes_no_sense(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == message
