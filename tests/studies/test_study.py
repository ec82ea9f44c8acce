import pytest

from edgewise.core import InputError
from edgewise.studies import EncoderStudy, grid, make_study


def test_a_resolved_study_is_accepted_back():
    study = make_study({"encoders": ["lete", "kmote"], "encoder_options": {"kmote": {"top_k": 1}}})
    assert make_study(study.as_dict()) == study


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "cfg has an unknown key 'epoch': did you mean 'epochs'?"),
        ({"epochs": "3"}, "cfg: epochs must be a whole number, got '3'"),
        ({"epochs": True}, "cfg: epochs must be a whole number, got True"),
        ({"dropout": "much"}, "cfg: dropout must be a number, got 'much'"),
        ({"encoders": "lete"}, "cfg: encoders must be a list of names, got 'lete'"),
        ({"encoders": [1]}, "cfg: encoders must be a list of names, got [1]"),
        ({"encoders": []}, "encoders must name at least one encoder, got none"),
        ({"encoders": ["lete", "lete"]}, "encoders names 'lete' twice; name each once"),
        ({"encoders": ["kmot"]}, "unknown encoder 'kmot': did you mean 'kmote'?"),
        ({"encoder_options": {"kmote": 1}}, "cfg: encoder_options must be an object of encoder"),
        ({"encoder_options": {"kmot": {}}}, "encoder_options has 'kmot', which is not compared"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin': did you mean 'cosine'?"),
        ({"data_dir": 3}, "cfg: data_dir must be a path, got 3"),
    ],
)
def test_bad_configurations_say_what_and_where(values, message):
    with pytest.raises(InputError) as error:
        make_study(values, "cfg")
    assert str(error.value).startswith(message)


def test_variants_carry_their_options():
    study = EncoderStudy(encoders=("lete", "kmote"), encoder_options={"kmote": {"top_k": 1}})
    assert [(v.name, v.options) for v in study.variants()] == [
        ("lete", {}),
        ("kmote", {"top_k": 1}),
    ]


def test_a_grid_multiplies_lists_of_fields_and_of_options():
    study, variants = grid(
        {
            "encoders": ["learned", "kmote"],
            "dim": [8, 16],
            "encoder_options": {"kmote": {"top_k": [1, 2], "experts": [["spline", "fourier"]]}},
        }
    )
    assert study.dim == 8
    assert [v.name for v in variants] == [
        "learned dim=8",
        "learned dim=16",
        "kmote top_k=1 experts=spline+fourier dim=8",
        "kmote top_k=1 experts=spline+fourier dim=16",
        "kmote top_k=2 experts=spline+fourier dim=8",
        "kmote top_k=2 experts=spline+fourier dim=16",
    ]
    assert variants[-1].options == {"top_k": 2, "experts": ["spline", "fourier"]}
    assert variants[-1].changes == {"dim": 16}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seeds": [1, 2]}, "cfg: seeds can't be a list in an ablation"),
        ({"dataset": ["a"]}, "cfg: dataset can't be a list in an ablation"),
        ({"dim": []}, "cfg: dim is an empty list; give it at least one value"),
        ({"dim": [8, "x"]}, "cfg: dim must be a whole number, got 'x'"),
        ({"dims": [8, 9]}, "cfg has an unknown key 'dims': did you mean 'dim'?"),
    ],
)
def test_bad_grids_say_what_and_where(values, message):
    with pytest.raises(InputError) as error:
        grid(values, "cfg")
    assert str(error.value).startswith(message)
